"""Calls of the caller's tools: by which ids it knows them, and how their results go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sartor.server.failures import Failure
from sartor.server.openai.callers import Steps, call_id
from sartor.toolbox import WAITING
from sartor.values import Outcome, Reply, ToolResult, ToolUse

__all__ = ["answered", "check_answers", "waiting"]


def waiting(reply: Reply) -> Mapping[str, tuple[int, ToolUse]]:
    """The calls that a turn ended with: their places among its tools, by the ids that the caller is told."""
    if reply.outcome is not Outcome.CALLS:
        return {}
    return {call_id(reply.turn.id, at): (at, use) for at, use in enumerate(reply.tools) if use.result.text == WAITING}


def answered(before: Reply, answers: Mapping[str, str]) -> Steps:
    """What the turn `before` did, with the results that it waited for. Raises `Failure` 400 where one is missing."""
    wanted = waiting(before)
    for call in wanted:
        if call not in answers:
            raise Failure(400, f"no output of the function call {call!r} is there", code="missing", param="input")
    places = {at for at, _ in wanted.values()}
    done = [(use,) for at, use in enumerate(before.tools) if at not in places]
    brought = tuple(
        ToolUse(replace(use.call, id=call), ToolResult(call, use.call.name, answers[call]))
        for call, (_, use) in wanted.items()
    )
    return (*done, brought)


def check_answers(answers: Mapping[str, str], before: Reply | None) -> None:
    """Raises `Failure` 400 for the result of a call that nothing waits for."""
    wanted: Sequence[str] = list(waiting(before)) if before else ()
    for call in answers:
        if call not in wanted:
            message = f"there is no function call {call[:100]!r} that waits for an output"
            raise Failure(400, message, code="invalid_value", param="input")
