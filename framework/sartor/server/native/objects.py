"""The objects of the native API, and how they are made of turns and rows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from sartor.server.caller import Caller
from sartor.store import ConversationRow
from sartor.values import FlowNote, Outcome, Reply

__all__ = [
    "CitationObject",
    "ConversationObject",
    "FlowObject",
    "Page",
    "ToolObject",
    "TurnObject",
    "conversation_object",
    "turn_object",
]


class CitationObject(BaseModel):
    """Where a statement of a reply comes from."""

    number: int
    """What the text shows in brackets."""
    title: str
    source: str
    quote: str
    """The sentence as the document has it; empty where the model wrote freely."""


class ToolObject(BaseModel):
    """A tool that was used."""

    id: str
    name: str
    error: bool
    arguments: dict[str, object] | None = None
    """For holders of a key only."""
    result: str | None = None
    """For holders of a key only."""


class VerdictObject(BaseModel):
    """What a policy said."""

    policy: str
    stage: str
    kind: str
    reason: str
    subject: str


class UsageObject(BaseModel):
    """Tokens of a turn."""

    prompt: int
    cached: int
    generated: int


class FlowObject(BaseModel):
    """Where a flow stands after the turn: a task such as a booking, of which the bot asks for what it must know."""

    name: str
    """As under `flows` in `bot.yaml`."""
    stage: str
    """What it waits for: ``asking`` (for a slot), ``confirming`` (a yes), ``changing`` (what to change), ``refused``
    (what to do, since it did not work). ``doing``: another turn is about to do it. Or how it ended: ``done``,
    ``left``, ``stuck``, ``unsure``, ``blocked``."""
    slot: str = ""
    """What was asked for."""
    values: dict[str, object] = {}
    """What is known."""
    options: list[str] = []
    """What may be answered with a click: the choices, yes and no, that the question is skipped. A user answers by
    sending one of them as text."""


class TurnObject(BaseModel):
    """One message of a user and what came of it."""

    object: Literal["turn"] = "turn"
    id: str
    conversation: str
    bot: str
    user: str
    status: Literal["in_progress", "waiting", "completed", "cancelled"]
    """``waiting``: for a person's approval of a tool call."""
    outcome: Outcome | None = None
    question: str = ""
    """Empty where the user was spoken to without having written."""
    text: str = ""
    author: str = ""
    """The person who said it, where it was not the bot."""
    citations: list[CitationObject] = []
    tools: list[ToolObject] = []
    flow: FlowObject | None = None
    """The flow that the turn was for."""
    usage: UsageObject = UsageObject(prompt=0, cached=0, generated=0)
    created: datetime | None = None
    verdicts: list[VerdictObject] | None = Field(default=None)
    """For holders of a key only."""
    seconds: dict[str, float] | None = None
    """For holders of a key only."""


class ConversationObject(BaseModel):
    """A conversation of a user with a bot."""

    object: Literal["conversation"] = "conversation"
    id: str
    bot: str
    turns: int = 0
    created: datetime | None = None
    updated: datetime | None = None


class Page(BaseModel):
    """A part of a list."""

    object: Literal["list"] = "list"
    has_more: bool
    next: str | None
    """The cursor to pass as `after`."""


def turn_object(reply: Reply, caller: Caller) -> TurnObject:
    """A committed turn as `caller` may see it."""
    turn, inside = reply.turn, caller.kind == "key"
    return TurnObject(
        id=turn.id,
        conversation=turn.conversation,
        bot=f"{turn.tenant}/{turn.bot}",
        user=turn.user,
        status="cancelled" if reply.outcome is Outcome.CANCELLED else "completed",
        outcome=reply.outcome,
        question=turn.text,
        text=reply.text,
        author=reply.author,
        citations=[
            CitationObject(number=one.number, title=one.title, source=one.source, quote=one.quote)
            for one in reply.citations
        ],
        tools=[
            ToolObject(
                id=use.call.id,
                name=use.call.name,
                error=use.result.error,
                arguments=dict(use.call.arguments) if inside else None,
                result=use.result.text if inside else None,
            )
            for use in reply.tools
        ],
        flow=_flow_object(reply.flow) if reply.flow else None,
        usage=UsageObject(prompt=reply.usage.prompt, cached=reply.usage.cached, generated=reply.usage.generated),
        created=turn.started,
        verdicts=[
            VerdictObject(policy=one.policy, stage=one.stage, kind=one.kind, reason=one.reason, subject=one.subject)
            for one in reply.verdicts
        ]
        if inside
        else None,
        seconds={phase: round(seconds, 6) for phase, seconds in reply.seconds.items()} if inside else None,
    )


def _flow_object(note: FlowNote) -> FlowObject:
    return FlowObject(
        name=note.name, stage=note.stage, slot=note.slot, values=dict(note.values), options=[*note.options]
    )


def conversation_object(row: ConversationRow, tenant: str) -> ConversationObject:
    return ConversationObject(
        id=row.id, bot=f"{tenant}/{row.bot}", turns=row.turns, created=row.started, updated=row.updated
    )
