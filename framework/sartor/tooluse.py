"""The tools in a turn: what the model is offered, and each call between its policies."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sartor.origins import argument_origins, untrusted_arguments
from sartor.policy import ALLOW, Kind, Verdict, ask
from sartor.toolbox import WAITING, check_call, cut, offer, offer_callers, run_tool, storable
from sartor.tools import Tool
from sartor.values import (
    CallerTool,
    Exchange,
    JSONValue,
    Message,
    Origin,
    Outcome,
    Part,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    ToolUse,
    ToolWanted,
)

if TYPE_CHECKING:
    from sartor.turn import TurnPath

__all__ = ["ToolSteps"]

_CALLS_AT_ONCE = 8
"""Tool calls of one answer that are run; further ones are passed over."""
_WITHHELD = "(withheld by a policy)"


class ToolSteps:
    """The tool calls of one turn."""

    def __init__(self, path: TurnPath) -> None:
        self._path = path
        self._callers: Mapping[str, CallerTool] = {tool.name: tool for tool in path.options.tools}
        self.ran = False
        """Whether one of the bot's own tools was begun, so that the turn may have changed something."""

    async def run(self, calls: Sequence[ToolCall], messages: Sequence[Message]) -> list[ToolUse] | None:
        """Run the bot's own tools that the model wants, or hand over to the caller when it wants only the caller's.
        None when the turn ends with that."""
        for call in calls:
            if flow := self._path.flows.called(call.name):
                await self._path.flows.begin(flow)
                return None
        own = [call for call in calls if call.name not in self._callers][:_CALLS_AT_ONCE]
        if not own:
            await self.hand_over(calls[: _CALLS_AT_ONCE if self._path.options.parallel_calls else 1], messages)
            return None
        uses: list[ToolUse] = []
        for call in own:  # the caller's are wanted again when the model has seen the results
            if (use := await self.use(call, messages)) is None:
                return None
            uses.append(use)
        return uses

    async def resume(self, brought: Sequence[ToolUse]) -> list[ToolUse] | None:
        """Calls of the caller's tools with the results that it brings, after the policies; None when one ended it."""
        path = self._path
        resumed: list[ToolUse] = []
        for use in brought:
            result = replace(use.result, text=cut(use.result.text, path.spec.limits.tool_characters))
            text, verdict = await path.judge.tool_result(use.call, result)
            allowed = verdict.kind is Kind.ALLOW
            resumed.append(replace(use, result=replace(result, text=text if allowed else _WITHHELD)))
            path.uses.append(resumed[-1])
            if not allowed:
                path.block(verdict)
                return None
        return resumed

    def offered(self, history: Sequence[Exchange]) -> Sequence[dict[str, JSONValue]]:
        """The tools that the model is told of: those for this audience, and for what the user has said so far."""
        path = self._path
        said = [*(exchange.question for exchange in history), path.turn.text]
        tools = path.parts.tools.values()
        if path.options.tool_choice == "none":
            return ()
        mine = [tool for tool in tools if not tool.audiences or path.turn.audience in tool.audiences]
        free = [tool for tool in mine if tool.name not in path.flows.reserved]
        own = [told for tool in free if (told := offer(tool, said)) is not None]
        return [*own, *path.flows.offered(), *map(offer_callers, self._callers.values())]

    async def hand_over(self, calls: Sequence[ToolCall], messages: Sequence[Message]) -> None:
        """End the turn with calls of the caller's own tools, as far as the policies let them pass."""
        path = self._path
        seen = _seen(messages)
        wanted: list[ToolCall] = []
        await path.give("", final=True)  # what policies held back of the text before the calls
        if path.release.blocked:
            return path.block(path.release.blocked)
        for said in calls:
            arguments = storable(said.arguments)
            call = replace(said, arguments=arguments, origins=argument_origins(arguments, seen))
            verdict = await path.judge.tool_call(call)
            if verdict.kind is Kind.ALLOW and self._callers[call.name].acts:
                verdict = await self.guard(call, seen)
            if verdict.kind is not Kind.ALLOW:
                return path.block(verdict)
            wanted.append(call)
        for call in wanted:
            path.uses.append(ToolUse(call, ToolResult(call.id, call.name, WAITING)))
            path.emit(ToolWanted(call))
        path.outcome = Outcome.CALLS

    async def use(self, call: ToolCall, messages: Sequence[Message]) -> ToolUse | None:
        """Run one tool call of the model between its policies; None when a policy ended the turn."""
        seen = _seen(messages)
        call = replace(call, origins=argument_origins(call.arguments, seen))
        free = {name: tool for name, tool in self._path.parts.tools.items() if name not in self._path.flows.reserved}
        return await self._run(call, free, lambda call: self.guard(call, seen))

    async def perform(self, call: ToolCall) -> ToolUse | None:
        """Run a tool call of a flow between its policies; None when a policy ended the turn. The user has agreed to
        what it does, so nobody else is asked but by a policy."""
        return await self._run(call, self._path.parts.tools, None)

    async def _run(
        self, call: ToolCall, tools: Mapping[str, Tool], guard: Callable[[ToolCall], Awaitable[Verdict]] | None
    ) -> ToolUse | None:
        path = self._path
        began = time.perf_counter()
        checked = check_call(tools, call, path.turn.audience)
        if isinstance(checked, ToolResult):
            result, call = checked, replace(call, arguments=storable(call.arguments))
        else:
            tool, arguments = checked
            verdict = await path.judge.tool_call(call)
            if verdict.kind is Kind.ALLOW and tool.acts and guard is not None:
                verdict = await guard(call)
            if verdict.kind is not Kind.ALLOW:
                path.block(verdict)
                return None
            path.uses.append(ToolUse(call, ToolResult(call.id, call.name, "(not finished)", error=True)))
            path.emit(ToolStarted(call))
            self.ran = True
            result = await run_tool(tool, call, arguments, path.turn, path.spec.limits)
            path.uses.pop()
        text, verdict = await path.judge.tool_result(call, result)
        allowed = verdict.kind is Kind.ALLOW
        use = ToolUse(call, replace(result, text=text if allowed else _WITHHELD))
        path.uses.append(use)
        path.passed("tool", call.name, began, error=result.error)
        if not allowed:
            path.block(verdict)
            return None
        path.emit(ToolFinished(use.result))
        return use

    async def guard(self, call: ToolCall, seen: Sequence[Part]) -> Verdict:
        """Where the model has read a document or a tool result, a tool that acts runs only on what the user, the
        tenant or the operator said, unless a person approves."""
        if not any(part.origin in (Origin.DOCUMENT, Origin.TOOL) for part in seen):
            return ALLOW
        names = untrusted_arguments(call.arguments, call.origins)
        if call.arguments and not names:
            return ALLOW
        what = (
            f"{', '.join(names)} of {call.name} is not what the user said" if names else f"{call.name} has no argument"
        )
        reason = f"{what}, and the model has read documents or tool results"
        return ALLOW if await self._path.judge.approved(call, reason) else ask(reason)


def _seen(messages: Sequence[Message]) -> list[Part]:
    """The parts of a prompt that may hold a value, which the numbers of passages do not."""
    return [
        part
        for message in messages
        for part in message.parts
        if message.role == "system" or part.origin is not Origin.OPERATOR
    ]
