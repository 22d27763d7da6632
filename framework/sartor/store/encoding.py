"""How the parts of a reply are written to rows and read back."""

from __future__ import annotations

from typing import Any, TypedDict

from sqlalchemy import Connection, RowMapping, bindparam, select

from sartor.store.rows import StoredTurn
from sartor.store.schema import tool_uses, turns, usage, verdicts
from sartor.values import (
    Citation,
    FlowNote,
    JSONValue,
    Origin,
    Outcome,
    Passage,
    Reply,
    ToolCall,
    ToolResult,
    ToolUse,
    Turn,
    Usage,
    VerdictRecord,
)

__all__ = [
    "citation_json",
    "last_turns",
    "note_json",
    "passage_json",
    "stored_turn",
    "stored_turns",
    "tool_row",
    "verdict_row",
]


class _CitationJSON(TypedDict):
    number: int
    passage: str
    source: str
    title: str
    quote: str


class _PassageJSON(TypedDict):
    id: str
    source: str
    title: str
    score: float
    parts: dict[str, float]
    origin: str


_TURNS = select(turns, usage.c.prompt, usage.c.cached, usage.c.generated, usage.c.calls).join_from(
    turns, usage, (usage.c.tenant == turns.c.tenant) & (usage.c.turn == turns.c.id)
)
_TURN = _TURNS.where(turns.c.tenant == bindparam("of_tenant"), turns.c.id == bindparam("of_turn"))
_OF_CONVERSATION = (
    _TURNS.where(
        turns.c.tenant == bindparam("of_tenant"),
        turns.c.conversation == bindparam("of_conversation"),
        turns.c.number > bindparam("after"),
    )
    .order_by(turns.c.number)
    .limit(bindparam("at_most"))
)
_LAST = (
    _TURNS.where(turns.c.tenant == bindparam("of_tenant"), turns.c.conversation == bindparam("of_conversation"))
    .order_by(turns.c.number.desc())
    .limit(bindparam("at_most"))
)
_TOOL_USES = (
    select(tool_uses)
    .where(
        tool_uses.c.tenant == bindparam("of_tenant"),
        tool_uses.c.user_id == bindparam("of_user"),
        tool_uses.c.turn == bindparam("of_turn"),
    )
    .order_by(tool_uses.c.number)
)
_VERDICTS = (
    select(verdicts.c.policy, verdicts.c.stage, verdicts.c.kind, verdicts.c.reason, verdicts.c.subject)
    .where(
        verdicts.c.tenant == bindparam("of_tenant"),
        verdicts.c.user_id == bindparam("of_user"),
        verdicts.c.turn == bindparam("of_turn"),
    )
    .order_by(verdicts.c.number)
)


def citation_json(citation: Citation) -> _CitationJSON:
    return {
        "number": citation.number,
        "passage": citation.passage,
        "source": citation.source,
        "title": citation.title,
        "quote": citation.quote,
    }


def passage_json(passage: Passage) -> _PassageJSON:
    """Everything but the text, and the tenant, which is the turn's. Scores may be numbers of other libraries."""
    return {
        "id": passage.id,
        "source": passage.source,
        "title": passage.title,
        "score": float(passage.score),
        "parts": {kind: float(share) for kind, share in passage.parts.items()},
        "origin": passage.origin.value,
    }


def note_json(note: FlowNote | None) -> dict[str, JSONValue] | None:
    if note is None:
        return None
    return {
        "name": note.name,
        "stage": note.stage,
        "slot": note.slot,
        "values": dict(note.values),
        "options": [*note.options],
        "began": note.began,
    }


def tool_row(use: ToolUse) -> dict[str, object]:
    call, result = use.call, use.result
    return {
        "call": call.id,
        "name": call.name,
        "arguments": dict(call.arguments),
        "origins": {name: sorted(origins) for name, origins in call.origins.items()},
        "result": result.text,
        "error": result.error,
        "seconds": float(result.seconds),
    }


def verdict_row(verdict: VerdictRecord) -> dict[str, object]:
    return {
        "policy": verdict.policy,
        "stage": verdict.stage,
        "kind": verdict.kind,
        "reason": verdict.reason,
        "subject": verdict.subject,
    }


def stored_turn(connection: Connection, tenant: str, turn: str) -> StoredTurn | None:
    """A turn as it was committed, or None where the tenant has no such turn."""
    row = connection.execute(_TURN, {"of_tenant": tenant, "of_turn": turn}).mappings().one_or_none()
    return None if row is None else _stored(connection, row)


def stored_turns(connection: Connection, tenant: str, conversation: str, limit: int, after: int) -> list[StoredTurn]:
    """Turns of a conversation as they were committed, from number `after` + 1 on."""
    key = {"of_tenant": tenant, "of_conversation": conversation, "after": after, "at_most": max(limit, 0)}
    return [_stored(connection, row) for row in connection.execute(_OF_CONVERSATION, key).mappings().all()]


def last_turns(connection: Connection, tenant: str, conversation: str, limit: int) -> list[StoredTurn]:
    """The last turns of a conversation as they were committed, the oldest first."""
    key = {"of_tenant": tenant, "of_conversation": conversation, "at_most": max(limit, 0)}
    return [_stored(connection, row) for row in reversed(connection.execute(_LAST, key).mappings().all())]


def _stored(connection: Connection, row: RowMapping) -> StoredTurn:
    tenant = row["tenant"]
    key = {"of_tenant": tenant, "of_turn": row["id"], "of_user": row["user_id"]}
    reply = Reply(
        Turn(
            row["id"],
            row["conversation"],
            row["tenant"],
            row["bot"],
            row["user_id"],
            row["question"],
            row["audience"],
            row["language"],
            row["started"],
        ),
        row["reply"],
        Outcome(row["outcome"]),
        tuple(Citation(**citation) for citation in row["citations"]),
        tuple(_passage(tenant, passage) for passage in row["passages"]),
        _tool_uses(connection, key),
        tuple(VerdictRecord(*verdict) for verdict in connection.execute(_VERDICTS, key)),
        Usage(row["prompt"], row["cached"], row["generated"], row["calls"]),
        row["seconds"],
        row["model"],
        row["error"],
        flow=_note(row["flow"]),
        author=row["author"],
    )
    return StoredTurn(reply, row["number"], row["committed"])


def _note(told: dict[str, Any] | None) -> FlowNote | None:
    return None if told is None else FlowNote(**{**told, "options": tuple(told["options"])})


def _passage(tenant: str, passage: _PassageJSON) -> Passage:
    return Passage(
        passage["id"],
        tenant,
        passage["source"],
        passage["title"],
        "",
        passage["score"],
        passage["parts"],
        Origin(passage["origin"]),
    )


def _tool_uses(connection: Connection, key: dict[str, str]) -> tuple[ToolUse, ...]:
    return tuple(
        ToolUse(
            ToolCall(
                row["call"],
                row["name"],
                row["arguments"],
                {name: frozenset(map(Origin, origins)) for name, origins in row["origins"].items()},
            ),
            ToolResult(row["call"], row["name"], row["result"], row["error"], row["seconds"]),
        )
        for row in connection.execute(_TOOL_USES, key).mappings()
    )
