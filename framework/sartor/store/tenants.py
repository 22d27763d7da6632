"""The row of a tenant, from its first to its last."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, Insert, Table, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from sartor.store.schema import (
    api_keys,
    chunks,
    conversations,
    documents,
    feedback,
    handovers,
    requests,
    responses,
    tenants,
    tool_uses,
    turns,
    usage,
    verdicts,
)

__all__ = ["erase", "insert_or_keep", "insert_or_skip", "insert_or_update", "know_tenant", "tenant_names"]

_NAMES = select(tenants.c.name).order_by(tenants.c.name)
_LOCK = select(tenants.c.name).where(tenants.c.name == bindparam("of_tenant")).with_for_update()
"""What is written of the tenant meanwhile waits for this row (SQLite has one writer anyway)."""
_BY_REFERENCE = (
    responses,
    feedback,
    verdicts,
    tool_uses,
    usage,
    turns,
    handovers,
    conversations,
    chunks,
    documents,
    requests,
    api_keys,
)
"""The tables of a tenant's data, each before those that it refers to."""


def insert_or_skip(connection: Connection, table: Table) -> Insert:
    """An insert that does nothing where the row is there already."""
    return _insert(connection, table).on_conflict_do_nothing()


def insert_or_update(connection: Connection, table: Table, columns: Collection[str]) -> Insert:
    """An insert that replaces `columns` where a row of the same primary key is there already."""
    statement = _insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: statement.excluded[name] for name in columns}
    )


def insert_or_keep(connection: Connection, table: Table) -> Insert:
    """An insert that leaves a row of the same primary key as it is, and holds it, so that it may be returned."""
    statement = _insert(connection, table)
    key = list(table.primary_key)
    return statement.on_conflict_do_update(index_elements=key, set_={key[-1].name: key[-1]})


def know_tenant(connection: Connection, tenant: str, now: datetime) -> None:
    """Make sure that the tenant has its row, to which all its other rows refer."""
    connection.execute(insert_or_skip(connection, tenants), {"name": tenant, "created": now})


def tenant_names(connection: Connection) -> list[str]:
    """The tenants of whom something is stored, by name."""
    return list(connection.scalars(_NAMES))


def erase(connection: Connection, tenant: str) -> dict[str, int]:
    """Delete every row of the tenant; how many there were, by table."""
    connection.execute(_LOCK, {"of_tenant": tenant})
    gone = {}
    for table in _BY_REFERENCE:
        gone[table.name] = connection.execute(delete(table).where(table.c.tenant == tenant)).rowcount
    gone[tenants.name] = connection.execute(delete(tenants).where(tenants.c.name == tenant)).rowcount
    return gone


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
