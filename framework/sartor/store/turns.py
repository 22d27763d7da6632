"""Turns, with the usage and the audit that are committed with them, as work inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, Text, and_, bindparam, func, insert, or_, select, type_coerce, update
from sqlalchemy.exc import IntegrityError

from sartor.errors import NamingError, StoreError, UsageError
from sartor.store.encoding import citation_json, note_json, passage_json, tool_row, verdict_row
from sartor.store.handovers import put_handover
from sartor.store.prepared import Prepared
from sartor.store.rows import ConversationRow
from sartor.store.schema import JSONText, conversations, tool_uses, turns, usage, verdicts
from sartor.store.tenants import insert_or_skip, know_tenant
from sartor.values import Exchange, HandOver, JSONValue, Reply, Turn, Usage
from sartor.window import lately

__all__ = [
    "commit",
    "commit_said",
    "conversation",
    "conversations_of",
    "exchange_standing",
    "history",
    "standing",
    "sum_usage",
]

_OF_CONVERSATION = (
    conversations.c.tenant == bindparam("of_tenant"),
    conversations.c.bot == bindparam("of_bot"),
    conversations.c.user_id == bindparam("of_user"),
    conversations.c.id == bindparam("of_conversation"),
)
_OF_TURNS = (
    turns.c.tenant == bindparam("of_tenant"),
    turns.c.bot == bindparam("of_bot"),
    turns.c.user_id == bindparam("of_user"),
    turns.c.conversation == bindparam("of_conversation"),
)

_HISTORY = Prepared[tuple[int, str, str, str]](
    select(turns.c.number, turns.c.question, turns.c.reply, turns.c.author)
    .where(*_OF_TURNS)
    .order_by(turns.c.number.desc())
    .limit(bindparam("at_most"))
)
_OWNER = Prepared[tuple[str, str]](
    select(conversations.c.bot, conversations.c.user_id).where(
        conversations.c.tenant == bindparam("of_tenant"), conversations.c.id == bindparam("of_conversation")
    )
)
_NEXT = Prepared[tuple[int]](
    update(conversations)
    .where(*_OF_CONVERSATION)
    .values(turns=conversations.c.turns + 1, updated=bindparam("now"))
    .returning(conversations.c.turns)
)
_STANDING = Prepared[tuple[str, str]](
    select(conversations.c.id, type_coerce(conversations.c.standing, Text())).where(*_OF_CONVERSATION)
)
_KEEP_STANDING = update(conversations).where(*_OF_CONVERSATION).values(standing=bindparam("new_standing"))
_CONVERSATIONS = select(
    conversations.c.id,
    conversations.c.bot,
    conversations.c.user_id,
    conversations.c.turns,
    conversations.c.started,
    conversations.c.updated,
)
_SUM = select(
    *(func.coalesce(func.sum(column), 0) for column in (usage.c.prompt, usage.c.cached, usage.c.generated)),
    func.coalesce(func.sum(usage.c.calls), 0),
)
_INSERT_TURN = Prepared[tuple[()]](insert(turns))
_INSERT_USAGE = Prepared[tuple[()]](insert(usage))
_INSERT_TOOL_USES = insert(tool_uses)
_INSERT_VERDICTS = insert(verdicts)

Conversation = Mapping[str, str]
"""Tenant, bot, user and conversation, as the parameters ``of_tenant`` and so on."""


def history(connection: Connection, conversation: Conversation, limit: int, step: int) -> list[Exchange]:
    """The last `limit` exchanges, the oldest first; of more, those behind a multiple of `step`. Raises `NamingError`
    for somebody else's conversation."""
    rows = _HISTORY.run(connection, {**conversation, "at_most": limit + 1}) if limit > 0 else ()
    if not rows:
        mine = (conversation["of_bot"], conversation["of_user"])
        if any(tuple(owner) != mine for owner in _OWNER.run(connection, conversation)):
            raise _no_such_conversation(conversation)
    stored = [(number, Exchange(question, reply, author)) for number, question, reply, author in reversed(rows)]
    return lately(stored, limit, step)


def commit(connection: Connection, reply: Reply, now: datetime) -> HandOver | None:
    """Store a turn and all that belongs to it; the hand-over that is stored then, where the turn has one. Raises
    `NamingError` for somebody else's conversation."""
    turn = reply.turn
    number = _next_number(connection, turn, now)
    spent = reply.usage
    try:
        _INSERT_TURN.run(connection, _turn_row(reply, number, now))
    except (IntegrityError, sqlite3.IntegrityError) as error:
        raise StoreError(
            f"Turn {turn.id!r} of tenant {turn.tenant!r} is stored already",
            remedy="Commit a turn once, and give each turn an id of its own.",
        ) from error
    _INSERT_USAGE.run(
        connection,
        {
            "tenant": turn.tenant,
            "turn": turn.id,
            "bot": turn.bot,
            "user_id": turn.user,
            "model": reply.model,
            "committed": now,
            "prompt": spent.prompt,
            "cached": spent.cached,
            "generated": spent.generated,
            "calls": spent.calls,
        },
    )
    if reply.standing is not None:
        connection.execute(
            _KEEP_STANDING,
            {
                "of_tenant": turn.tenant,
                "of_bot": turn.bot,
                "of_user": turn.user,
                "of_conversation": turn.conversation,
                "new_standing": dict(reply.standing),
            },
        )
    stored = None if reply.handover is None else put_handover(connection, reply.handover)
    of_turn: dict[str, str] = {"tenant": turn.tenant, "user_id": turn.user, "turn": turn.id}
    if reply.tools:
        rows = [{**of_turn, "number": at, **tool_row(use)} for at, use in enumerate(reply.tools)]
        connection.execute(_INSERT_TOOL_USES, rows)
    if reply.verdicts:
        rows = [{**of_turn, "number": at, **verdict_row(verdict)} for at, verdict in enumerate(reply.verdicts)]
        connection.execute(_INSERT_VERDICTS, rows)
    return stored


def commit_said(connection: Connection, reply: Reply, now: datetime) -> None:
    """`commit` what is said by a hand-over. Raises `UsageError`, which undoes it, where that one was released."""
    stored = commit(connection, reply, now)
    if reply.handover is not None and (stored is None or stored.id != reply.handover.id):
        raise UsageError(f"hand-over {reply.handover.id} was released meanwhile")


def standing(connection: Connection, conversation: Conversation) -> Mapping[str, JSONValue] | None:
    """Where the flows of a conversation stand; None where it has none, or is not this user's."""
    rows = _STANDING.run(connection, conversation)
    told: JSONValue = json.loads(rows[0][1]) if rows else None
    return told if isinstance(told, dict) else None


def exchange_standing(
    connection: Connection,
    conversation: Conversation,
    old: Mapping[str, JSONValue] | None,
    new: Mapping[str, JSONValue],
) -> bool:
    """Put `new` in the place of `old`; false where it is no longer `old` that stands there."""
    statement = (
        update(conversations)
        .where(*_OF_CONVERSATION, conversations.c.standing == bindparam("old", type_=JSONText))
        .values(standing=bindparam("new_standing", type_=JSONText))
    )
    values = {**conversation, "old": None if old is None else dict(old), "new_standing": dict(new)}
    return connection.execute(statement, values).rowcount == 1


def conversations_of(
    connection: Connection, of: tuple[str, str, str], limit: int, after: tuple[datetime, str] | None
) -> list[ConversationRow]:
    """The conversations of a tenant's bot with a user, the latest first, from behind `after` on."""
    tenant, bot, user = of
    latest = conversations.c.updated.desc(), conversations.c.id
    statement = _CONVERSATIONS.where(*_OF_CONVERSATION[:3]).order_by(*latest).limit(bindparam("at_most"))
    key: dict[str, object] = {"of_tenant": tenant, "of_bot": bot, "of_user": user, "at_most": max(limit, 0)}
    if after is not None:
        updated, id_ = after
        statement = statement.where(
            or_(conversations.c.updated < updated, and_(conversations.c.updated == updated, conversations.c.id > id_))
        )
    return [ConversationRow(*row) for row in connection.execute(statement, key)]


def conversation(connection: Connection, tenant: str, conversation: str) -> ConversationRow | None:
    """One conversation of the tenant."""
    statement = _CONVERSATIONS.where(_OF_CONVERSATION[0], _OF_CONVERSATION[3])
    row = connection.execute(statement, {"of_tenant": tenant, "of_conversation": conversation}).one_or_none()
    return None if row is None else ConversationRow(*row)


def sum_usage(connection: Connection, tenant: str, bot: str | None, since: datetime | None) -> Usage:
    """The tokens of a tenant, or of one of its bots, in the turns committed at `since` or later."""
    statement = _SUM.where(usage.c.tenant == tenant)
    if bot is not None:
        statement = statement.where(usage.c.bot == bot)
    if since is not None:
        statement = statement.where(usage.c.committed >= since)
    return Usage(*map(int, connection.execute(statement).one()))


def _next_number(connection: Connection, turn: Turn, now: datetime) -> int:
    """Count the turn in its conversation, which is created when it is new."""
    conversation = {
        "of_tenant": turn.tenant,
        "of_bot": turn.bot,
        "of_user": turn.user,
        "of_conversation": turn.conversation,
    }
    counted = _NEXT.run(connection, {**conversation, "now": now})
    if not counted:
        know_tenant(connection, turn.tenant, now)
        connection.execute(
            insert_or_skip(connection, conversations),
            {
                "tenant": turn.tenant,
                "id": turn.conversation,
                "bot": turn.bot,
                "user_id": turn.user,
                "turns": 0,
                "started": now,
                "updated": now,
            },
        )
        counted = _NEXT.run(connection, {**conversation, "now": now})
    if not counted:
        raise _no_such_conversation(conversation)
    [(number,)] = counted
    return number


def _turn_row(reply: Reply, number: int, now: datetime) -> dict[str, object]:
    turn = reply.turn
    return {
        "tenant": turn.tenant,
        "id": turn.id,
        "bot": turn.bot,
        "user_id": turn.user,
        "conversation": turn.conversation,
        "number": number,
        "question": turn.text,
        "reply": reply.text,
        "outcome": reply.outcome.value,
        "audience": turn.audience,
        "language": turn.language,
        "model": reply.model,
        "error": reply.error,
        "citations": [citation_json(citation) for citation in reply.citations],
        "passages": [passage_json(passage) for passage in reply.passages],
        "flow": note_json(reply.flow),
        "author": reply.author,
        "seconds": {phase: float(seconds) for phase, seconds in reply.seconds.items()},
        "started": turn.started or now,
        "committed": now,
    }


def _no_such_conversation(conversation: Conversation) -> NamingError:
    """The same words whether it is another user's or another bot's: nobody learns whose."""
    return NamingError(
        f"{conversation['of_tenant']}/{conversation['of_bot']} has no conversation "
        f"{conversation['of_conversation']!r} with this user",
        remedy="Leave the conversation out to begin a new one.",
    )
