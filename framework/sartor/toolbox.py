"""Running one tool call: arguments checked, time and size bounded, every fault a result that the model sees."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Mapping

from pydantic import ValidationError

from sartor.spec import Limits
from sartor.tools import Tool
from sartor.values import ToolCall, ToolResult, Turn

__all__ = ["check_call", "run_tool"]

log = logging.getLogger("sartor.tools")


def check_call(
    tools: Mapping[str, Tool], call: ToolCall, audience: str
) -> tuple[Tool, Mapping[str, object]] | ToolResult:
    """The tool that `call` names and its typed arguments, or the error that the model is shown instead."""
    tool = tools.get(call.name)
    if tool is None or (tool.audiences and audience not in tool.audiences):
        return _error(call, f"there is no tool {call.name!r}")
    try:
        checked = tool.arguments.model_validate(dict(call.arguments))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        return _error(call, f"{call.name} was called wrongly: {faults}")
    return tool, {name: getattr(checked, name) for name in type(checked).model_fields}


async def run_tool(
    tool: Tool, call: ToolCall, arguments: Mapping[str, object], turn: Turn, limits: Limits
) -> ToolResult:
    """Run `tool`. Never raises but when the turn is cancelled: a tool that raises, hangs or returns what cannot be
    shown gives an error result; a long result is cut and says so. A sync tool that hangs keeps its thread."""
    began = time.perf_counter()
    given = {**arguments, "turn": turn} if tool.takes_turn else dict(arguments)
    seconds = tool.timeout or limits.tool_seconds
    try:
        async with asyncio.timeout(seconds):
            if inspect.iscoroutinefunction(tool.function):
                value = await tool.function(**given)
            else:
                value = await asyncio.to_thread(tool.function, **given)
                if inspect.isawaitable(value):
                    value = await value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except TimeoutError:
        log.warning("tool %s of %s/%s: no result after %g s", tool.name, turn.tenant, turn.bot, seconds)
        return _error(call, f"{tool.name} gave no result within {seconds:g} seconds", began)
    except Exception as error:
        log.exception("tool %s of %s/%s raised", tool.name, turn.tenant, turn.bot)
        return _error(call, f"{tool.name} failed: {type(error).__name__}", began)
    if len(text) > limits.tool_characters:
        text = text[: limits.tool_characters] + f"… (cut: the result has {len(text)} characters)"
    return ToolResult(call.id, call.name, text, seconds=time.perf_counter() - began)


def _error(call: ToolCall, what: str, began: float | None = None) -> ToolResult:
    seconds = time.perf_counter() - began if began is not None else 0.0
    return ToolResult(call.id, call.name, f"Error: {what}", error=True, seconds=seconds)
