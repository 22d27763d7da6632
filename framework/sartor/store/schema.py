"""The tables of the state database.

A row is found by its tenant first, and every foreign key holds the tenant, so no row can refer to another
tenant's. `HEAD` is the version that these tables have; a change of them is a migration in
`sartor/store/migrations/versions` and a new `HEAD`, and a test holds the two against each other.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from sartor.values import JSONValue

__all__ = [
    "HEAD",
    "Instant",
    "JSONText",
    "Writing",
    "api_keys",
    "chunks",
    "conversations",
    "documents",
    "feedback",
    "handovers",
    "metadata",
    "requests",
    "responses",
    "tenants",
    "tool_uses",
    "turns",
    "usage",
    "verdicts",
    "version",
]

HEAD = "0004"
"""The version of these tables: four digits, so that versions compare as text."""


class Instant(sa.TypeDecorator[datetime]):
    """A point in time, kept in UTC. One without a time zone is refused with `ValueError`."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Writing(sa.TypeDecorator[str]):
    """Text that people or models wrote. What no database can hold (NUL, half a surrogate pair) becomes U+FFFD."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if "\0" in value:
            value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value


_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class JSONText(sa.TypeDecorator[JSONValue]):
    """JSON in a column of text: the same on every database, and finite numbers only (`ValueError`)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: JSONValue, dialect: Dialect) -> str:
        return _JSON.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> JSONValue:
        decoded: JSONValue = json.loads(value) if value is not None else None
        return decoded


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _key(name: str) -> sa.Column[str]:
    """Text that identifies something: `sartor.store.tenant` has checked that every database can hold it."""
    return sa.Column(name, sa.Text, nullable=False)


def _writing(name: str) -> sa.Column[str]:
    return sa.Column(name, Writing, nullable=False)


def _json(name: str) -> sa.Column[JSONValue]:
    return sa.Column(name, JSONText, nullable=False)


def _time(name: str) -> sa.Column[datetime]:
    return sa.Column(name, Instant, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


version = sa.Table("sartor_version", metadata, sa.Column("version_num", sa.String(32), primary_key=True))

tenants = sa.Table("tenants", metadata, _key("name"), _time("created"), sa.PrimaryKeyConstraint("name"))

conversations = sa.Table(
    "conversations",
    metadata,
    *map(_key, ("tenant", "id", "bot", "user_id")),
    _count("turns"),
    *map(_time, ("started", "updated")),
    sa.Column("standing", JSONText, nullable=False, server_default="null"),
    sa.PrimaryKeyConstraint("tenant", "id"),
    sa.UniqueConstraint("tenant", "bot", "user_id", "id"),
    sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    sa.Index(None, "tenant", "bot", "user_id", "updated"),
)

turns = sa.Table(
    "turns",
    metadata,
    *map(_key, ("tenant", "id", "bot", "user_id", "conversation")),
    _count("number"),
    *map(_writing, ("question", "reply", "outcome", "audience", "language", "model", "error")),
    *map(_json, ("citations", "passages", "seconds")),
    *map(_time, ("started", "committed")),
    sa.Column("flow", JSONText, nullable=False, server_default="null"),
    sa.Column("author", Writing, nullable=False, server_default=""),
    sa.PrimaryKeyConstraint("tenant", "id"),
    sa.UniqueConstraint("tenant", "user_id", "id"),
    sa.UniqueConstraint("tenant", "bot", "user_id", "conversation", "number"),
    sa.ForeignKeyConstraint(
        ["tenant", "bot", "user_id", "conversation"],
        ["conversations.tenant", "conversations.bot", "conversations.user_id", "conversations.id"],
    ),
)

tool_uses = sa.Table(
    "tool_uses",
    metadata,
    *map(_key, ("tenant", "user_id", "turn")),
    _count("number"),
    *map(_writing, ("call", "name")),
    *map(_json, ("arguments", "origins")),
    _writing("result"),
    sa.Column("error", sa.Boolean, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("tenant", "user_id", "turn", "number"),
    sa.ForeignKeyConstraint(["tenant", "user_id", "turn"], ["turns.tenant", "turns.user_id", "turns.id"]),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    *map(_key, ("tenant", "user_id", "turn")),
    _count("number"),
    *map(_writing, ("policy", "stage", "kind", "reason", "subject")),
    sa.PrimaryKeyConstraint("tenant", "user_id", "turn", "number"),
    sa.ForeignKeyConstraint(["tenant", "user_id", "turn"], ["turns.tenant", "turns.user_id", "turns.id"]),
)

usage = sa.Table(
    "usage",
    metadata,
    *map(_key, ("tenant", "turn", "bot", "user_id")),
    _writing("model"),
    _time("committed"),
    *map(_count, ("prompt", "cached", "generated", "calls")),
    sa.PrimaryKeyConstraint("tenant", "turn"),
    sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    sa.Index(None, "tenant", "committed"),
)
"""What a turn cost. It holds no text and does not refer to `turns`, so that metering can outlive them."""

documents = sa.Table(
    "documents",
    metadata,
    *map(_key, ("tenant", "bot", "source")),
    *map(_writing, ("sha256", "title")),
    _count("chunks"),
    _time("ingested"),
    sa.PrimaryKeyConstraint("tenant", "bot", "source"),
    sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
)

chunks = sa.Table(
    "chunks",
    metadata,
    *map(_key, ("tenant", "bot", "id", "document", "source")),
    *map(_writing, ("audience", "title", "text")),
    _count("position"),
    sa.PrimaryKeyConstraint("tenant", "bot", "id"),
    sa.ForeignKeyConstraint(["tenant", "bot", "document"], ["documents.tenant", "documents.bot", "documents.source"]),
    sa.Index(None, "tenant", "bot", "document", "position"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    *map(_key, ("id", "tenant")),
    _writing("name"),
    _key("digest"),
    _json("scopes"),
    _time("created"),
    sa.Column("expires", Instant, nullable=True),
    sa.Column("revoked", Instant, nullable=True),
    sa.PrimaryKeyConstraint("id"),
    sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    sa.Index(None, "tenant"),
)
"""A key is found by its id alone, since the tenant is what it tells."""

requests = sa.Table(
    "requests",
    metadata,
    *map(_key, ("tenant", "user_id", "key", "fingerprint", "turn")),
    _time("created"),
    sa.PrimaryKeyConstraint("tenant", "user_id", "key"),
    sa.ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    sa.Index(None, "tenant", "created"),
)

feedback = sa.Table(
    "feedback",
    metadata,
    *map(_key, ("tenant", "user_id", "turn")),
    _count("score"),
    _writing("comment"),
    _time("given"),
    sa.PrimaryKeyConstraint("tenant", "user_id", "turn"),
    sa.ForeignKeyConstraint(["tenant", "user_id", "turn"], ["turns.tenant", "turns.user_id", "turns.id"]),
)

responses = sa.Table(
    "responses",
    metadata,
    *map(_key, ("tenant", "user_id", "turn")),
    _writing("previous"),
    _json("told"),
    sa.PrimaryKeyConstraint("tenant", "turn"),
    sa.ForeignKeyConstraint(["tenant", "user_id", "turn"], ["turns.tenant", "turns.user_id", "turns.id"]),
)
"""Turns that can be found again as responses of OpenAI's API."""

handovers = sa.Table(
    "handovers",
    metadata,
    *map(_key, ("tenant", "id", "bot", "user_id", "conversation")),
    *map(_writing, ("reason", "summary", "taken_by")),
    _time("since"),
    sa.Column("waited", sa.Boolean, nullable=False),
    sa.Column("released", Instant, nullable=True),
    sa.PrimaryKeyConstraint("tenant", "id"),
    sa.ForeignKeyConstraint(
        ["tenant", "bot", "user_id", "conversation"],
        ["conversations.tenant", "conversations.bot", "conversations.user_id", "conversations.id"],
    ),
    sa.Index(
        "uq_handovers_open",
        "tenant",
        "bot",
        "user_id",
        "conversation",
        unique=True,
        sqlite_where=sa.text("released IS NULL"),
        postgresql_where=sa.text("released IS NULL"),
    ),
)
"""Conversations that people have, or had: at most one open for each."""
