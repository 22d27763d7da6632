"""The caller's own tools, as both of OpenAI's APIs bring them: what they are, by which ids their calls are known, and
what the bot's own tools gave in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from sartor.bot import Bot
from sartor.server.failures import Failure
from sartor.store import TenantStore
from sartor.values import CallerTool, JSONValue, ToolUse

__all__ = ["Steps", "call_id", "caller_tool", "with_own_tools"]

Steps = tuple[tuple[ToolUse, ...], ...]
"""For each answer of the model that wanted tools, the calls and their results."""

_CALL = re.compile(r"call_([0-9a-f]{32})_\d{1,4}")
_WORDS = frozenset({"auto", "none", "required"})


def call_id(turn: str, number: int) -> str:
    """By which id the caller knows a call: it leads back to the turn, and is never that of two calls."""
    return f"call_{turn}_{number}"


def caller_tool(
    name: str, description: str | None, parameters: Mapping[str, JSONValue] | None, *, acts: bool, place: str
) -> CallerTool:
    """A tool that a request brings at `place`. Raises `Failure` 400 for one that cannot be one."""
    told: dict[str, JSONValue] = {"type": "object", "properties": {}, **(parameters or {})}
    if told["type"] != "object" or not isinstance(told["properties"], dict):
        what = f"{place}.parameters: a JSON Schema of an object is needed"
        raise Failure(400, what, code="invalid_value", param=f"{place}.parameters")
    if name in _WORDS:
        what = f"{place}.name: a tool cannot be called {name!r}"
        raise Failure(400, what, code="invalid_value", param=f"{place}.name")
    return CallerTool(name, description or "", told, acts)


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
