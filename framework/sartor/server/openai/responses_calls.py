"""Calls of the caller's tools: by which ids it knows them, and how their results go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sartor.bot import Bot
from sartor.server.failures import Failure
from sartor.store import TenantStore
from sartor.toolbox import WAITING
from sartor.values import Outcome, Reply, ToolResult, ToolUse

__all__ = ["Steps", "answered", "check_answers", "waiting", "with_own_tools"]

Steps = tuple[tuple[ToolUse, ...], ...]
"""For each answer of the model that wanted tools, the calls and their results."""

_CALL = re.compile(r"call_([0-9a-f]{32})_\d{1,4}")


def waiting(reply: Reply) -> Mapping[str, tuple[int, ToolUse]]:
    """The calls that a turn ended with: their places among its tools, by the ids that the caller is told.

    Such an id leads back to the turn, and is never that of two calls.
    """
    if reply.outcome is not Outcome.CALLS:
        return {}
    return {f"call_{reply.turn.id}_{at}": (at, use) for at, use in enumerate(reply.tools) if use.result.text == WAITING}


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


async def with_own_tools(store: TenantStore, bot: Bot, user: str, steps: Steps) -> Steps:
    """`steps` of a transcript, each behind what the bot's own tools gave in the turn that wanted it: the caller was
    not told of them, and without them a tool that acts might be run a second time."""
    own = {tool.name for tool in bot.tools}
    turns = [match[1] if (match := _CALL.fullmatch(step[0].call.id)) else "" for step in steps]
    stored = await asyncio.gather(*(store.reply(turn) for turn in {*turns} if turn and own))
    replies = {
        one.reply.turn.id: one.reply
        for one in stored
        if one is not None and (one.reply.turn.bot, one.reply.turn.user) == (bot.info.bot, user)
    }
    found: list[tuple[ToolUse, ...]] = []
    for turn, step in zip(turns, steps, strict=True):
        before = replies[turn].tools if turn in replies else ()
        found += [(use,) for use in before if use.call.name in own and (use,) not in found]
        found.append(step)
    return tuple(found)


def check_answers(answers: Mapping[str, str], before: Reply | None) -> None:
    """Raises `Failure` 400 for the result of a call that nothing waits for."""
    wanted: Sequence[str] = list(waiting(before)) if before else ()
    for call in answers:
        if call not in wanted:
            message = f"there is no function call {call[:100]!r} that waits for an output"
            raise Failure(400, message, code="invalid_value", param="input")
