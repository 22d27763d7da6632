"""Tools in a turn: what the model is offered, and running one call with every fault a result that it sees."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache, partial

from pydantic import ValidationError

from sartor.errors import ToolError
from sartor.spec import Limits
from sartor.tools import Tool
from sartor.values import CallerTool, JSONValue, Origin, ToolCall, ToolResult, Turn

__all__ = ["WAITING", "check_call", "cut", "offer", "offer_callers", "run_tool", "storable", "summary"]

log = logging.getLogger("sartor.tools")


WAITING = "(waits for the caller)"
"""The result of a call of the caller's own tool, until it brings one."""

_AROUND = re.compile(r"[$^]|\\[bBAZ]|\(\?(?!:)")
_MOST_STRETCHES = 200
_THREADS = 32
_WORDS_OF_USER = 4
"""An argument that must be the user's own words has at most so many of them."""


def offer(tool: Tool, said: Sequence[str]) -> dict[str, JSONValue] | None:
    """`tool` as the model is told of it (OpenAI's form), with `said`, the user's messages, in mind.

    Arguments that must be the user's own words become a choice among them. None when the user wrote nothing that
    such an argument could be.
    """
    schema = {key: value for key, value in tool.schema.items() if key != "title"}
    properties = schema.get("properties")
    if tool.from_user and isinstance(properties, dict):
        properties = dict(properties)
        required = schema.get("required")
        for name in tool.from_user & properties.keys():
            told = properties[name]
            told = dict(told) if isinstance(told, dict) else {}
            fitting = list(_fitting(said, told.pop("pattern", None)))
            if fitting:
                properties[name] = {**told, "enum": fitting}
            elif isinstance(required, list) and name in required:
                return None
            else:
                del properties[name]
        schema["properties"] = properties
    function: dict[str, JSONValue] = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def offer_callers(tool: CallerTool) -> dict[str, JSONValue]:
    """A tool of the caller's as the model is told of it."""
    function: dict[str, JSONValue] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def summary(offered: dict[str, JSONValue]) -> str:
    """What an offered tool is about, in words to compare a question with."""
    words = re.findall(r"[^\W_]+(?:-[^\W_]+)*", json.dumps(offered["function"], ensure_ascii=False))
    return " ".join(words)


def _fitting(said: Sequence[str], pattern: JSONValue) -> Iterator[JSONValue]:
    """The stretches of words in `said` that fit `pattern`, or all of them, each once, the last message's first."""
    fits = re.compile(str(pattern), re.IGNORECASE) if pattern else None
    inside = _anywhere(str(pattern)) if pattern else None
    seen: set[str] = set()
    for text in reversed(said):
        if inside is not None and not inside.search(text):
            continue
        words = [match.span() for match in re.finditer(r"[^\s,;:!?()\"“”«»]+", text)]
        for at, (start, _) in enumerate(words):
            for _, end in words[at : at + _WORDS_OF_USER]:
                stretch = text[start:end].rstrip(".'’")
                if stretch and stretch not in seen and (fits is None or fits.search(stretch)):
                    seen.add(stretch)
                    yield stretch
                if len(seen) >= _MOST_STRETCHES:
                    return


@lru_cache(maxsize=256)
def _anywhere(pattern: str) -> re.Pattern[str] | None:
    """What must stand in a text of which some stretch fits `pattern`; None where that cannot be told, since the
    pattern looks at what is around it."""
    core = pattern.removeprefix("^").removesuffix("$")
    return None if _AROUND.search(core) else re.compile(core, re.IGNORECASE)


def check_call(
    tools: Mapping[str, Tool], call: ToolCall, audience: str
) -> tuple[Tool, Mapping[str, object]] | ToolResult:
    """The tool that `call` names and its typed arguments, or the error that the model is shown instead."""
    tool = tools.get(call.name)
    if tool is None or (tool.audiences and audience not in tool.audiences):
        return _error(call, f"there is no tool {call.name!r}")
    if storable(call.arguments) is not call.arguments:
        return _error(call, f"{call.name} was called with a number that is none")
    try:
        checked = tool.arguments.model_validate(dict(call.arguments))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        return _error(call, f"{call.name} was called wrongly: {faults}")
    for name in tool.from_user & call.arguments.keys():
        if Origin.USER not in call.origins.get(name, frozenset()):
            return _error(call, f"{name} of {call.name} must be what the user wrote; ask the user for it")
    return tool, {name: getattr(checked, name) for name in type(checked).model_fields}


def storable(arguments: Mapping[str, JSONValue]) -> Mapping[str, JSONValue]:
    """`arguments`, or nothing where JSON cannot hold them (NaN, infinity)."""
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:
        return {}
    return arguments


@cache
def _threads() -> ThreadPoolExecutor:
    """The threads of sync tools: their own, so that tools that hang keep none of those that retrieval needs."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="sartor-tool")


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
                work = partial(contextvars.copy_context().run, tool.function, **given)
                value = await asyncio.get_running_loop().run_in_executor(_threads(), work)
                if inspect.isawaitable(value):
                    value = await value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except TimeoutError:
        log.warning("tool %s of %s/%s: no result after %g s", tool.name, turn.tenant, turn.bot, seconds)
        return _error(call, f"{tool.name} gave no result within {seconds:g} seconds", began)
    except ToolError as error:
        log.warning("tool %s of %s/%s: %s", tool.name, turn.tenant, turn.bot, error)
        failed = _error(call, cut(f"{tool.name} failed: {error.what}", limits.tool_characters), began)
        return replace(failed, refused=True)
    except Exception as error:
        log.exception("tool %s of %s/%s raised", tool.name, turn.tenant, turn.bot)
        return _error(call, f"{tool.name} failed: {type(error).__name__}", began)
    shown = cut(text, limits.tool_characters)
    return ToolResult(call.id, call.name, shown, seconds=time.perf_counter() - began)


def cut(text: str, most: int) -> str:
    """A tool's result, as far as the model is shown it."""
    return text if len(text) <= most else f"{text[:most]}… (cut: the result has {len(text)} characters)"


def _error(call: ToolCall, what: str, began: float | None = None) -> ToolResult:
    seconds = time.perf_counter() - began if began is not None else 0.0
    return ToolResult(call.id, call.name, f"Error: {what}", error=True, seconds=seconds)
