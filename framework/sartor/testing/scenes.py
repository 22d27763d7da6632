"""Turns that end in every way there is, with the bot of `sartor.testing.desk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sartor.errors import SartorError
from sartor.testing.script import Call, Fail
from sartor.values import CallerTool, Event, Finished, JSONValue, Reply, Started, ToolFinished, ToolStarted, TurnOptions

if TYPE_CHECKING:
    from sartor.bots import Bots

__all__ = ["BOT", "MARK", "SCENES", "Scene", "play"]

MARK = "xylocanary"
"""A word that stands in all that users, bots, documents, tools and errors say in a scene."""


_UNKNOWN = "I do not know that."
BOT: Mapping[str, JSONValue] = {"plugins": {"desk": {}}, "hand_over": {}, "replies": {"unknown": _UNKNOWN}}
"""The bot's settings."""
_WHAT: Mapping[str, JSONValue] = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}


@dataclass(frozen=True, slots=True)
class Scene:
    """A turn, and how it ends."""

    text: str
    ends: str
    """The outcome, or the name of the error where there is no reply."""
    script: Sequence[object] = ()
    leaves: bool = False
    """Whether the caller goes away while the tool runs."""
    before: str = ""
    """What ann said in the conversation before."""
    user: str = "ann"
    tools: tuple[CallerTool, ...] = ()


SCENES: Mapping[str, Scene] = {
    "answered": Scene(f"Where is {MARK}?", "answered", [f"Here is {MARK}, as it is [1]."]),
    "a tool": Scene(MARK, "answered", [Call("look_up", {"what": MARK}), f"It is {MARK}."]),
    "tools": Scene(MARK, "answered", [[Call("look_up", {"what": MARK}), Call("look_up", {"what": "b"})], "Both."]),
    "a broken tool": Scene(MARK, "answered", [Call("look_up", {"what": f"{MARK} broken"}), "I could not look."]),
    "blocked": Scene(f"forbidden {MARK}", "blocked"),
    "blocked while it speaks": Scene(MARK, "blocked", [f"I say that {MARK} is a forbidden word, as it is."]),
    "failed": Scene(MARK, "failed", [Fail(f"no {MARK}")]),
    "failed while it speaks": Scene(MARK, "failed", [Fail(f"no {MARK}", after=f"It is {MARK}, and so on, and on")]),
    "cancelled": Scene(MARK, "cancelled", [Call("look_up", {"what": f"{MARK} forever"})], leaves=True),
    "unknown": Scene(MARK, "unknown", [_UNKNOWN]),
    "a tool of the caller": Scene(
        MARK, "calls", [Call("measure", {"what": MARK})], tools=(CallerTool("measure", "Measure something.", _WHAT),)
    ),
    "handed over": Scene(f"Let me talk to a human, {MARK}", "handed_over"),
    "silent": Scene(MARK, "silent", before="Let me talk to a human"),
    "overloaded": Scene(f"overloaded {MARK}", "OverloadedError"),
    "not theirs": Scene(MARK, "NamingError", before="forbidden", user="bob"),
}


async def play(bots: Bots, scene: Scene, turn: str, tenant: str = "acme") -> tuple[object, ...]:
    """The events of the scene without what differs each time, what was stored of it, and how it ended."""
    bot, options, conversation = (
        bots[f"{tenant}/support"],
        TurnOptions(id=turn, tools=scene.tools),
        f"conversation-{turn}",
    )
    if scene.before:
        first = TurnOptions(id=f"{turn}-first")
        await bot.reply(scene.before, user="ann", conversation=conversation, options=first)
    told: list[object] = []
    ends = ""
    try:
        stream = bot.stream(
            scene.text, user=scene.user, conversation=conversation, attributes={"note": MARK}, options=options
        )
        async with aclosing(stream) as events:
            async for event in events:
                told.append(_steady(event))
                if scene.leaves and isinstance(event, ToolStarted):
                    break
    except SartorError as error:
        ends = type(error).__name__
    stored = await bots.store.tenant(tenant).reply(turn)
    return (*told, stored and _whole(stored.reply), ends or (stored.reply.outcome.value if stored else ""))


def _steady(event: Event) -> Event:
    """The event without times."""
    match event:
        case Started(turn):
            return Started(replace(turn, started=None))
        case ToolFinished(result):
            return ToolFinished(replace(result, seconds=0))
        case Finished(reply):
            return Finished(_whole(reply))
    return event


def _whole(reply: Reply) -> Reply:
    tools = tuple(replace(use, result=replace(use.result, seconds=0)) for use in reply.tools)
    seconds = dict.fromkeys(reply.seconds, 0.0)
    called = reply.handover and replace(reply.handover, id="", since=datetime(2026, 1, 1, tzinfo=UTC))
    return replace(reply, turn=replace(reply.turn, started=None), seconds=seconds, tools=tools, handover=called)
