"""The rows of API keys. Only digests of keys are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from sartor.store.rows import KeyRow
from sartor.store.schema import api_keys
from sartor.store.tenants import know_tenant

__all__ = ["add_key", "find_key", "keys_of", "revoke_key"]

_FIND = select(api_keys).where(api_keys.c.id == bindparam("of_id"))
_OF_TENANT = (
    select(api_keys).where(api_keys.c.tenant == bindparam("of_tenant")).order_by(api_keys.c.created, api_keys.c.id)
)
_REVOKE = (
    update(api_keys)
    .where(
        api_keys.c.tenant == bindparam("of_tenant"), api_keys.c.id == bindparam("of_id"), api_keys.c.revoked.is_(None)
    )
    .values(revoked=bindparam("now"))
)


def add_key(connection: Connection, row: KeyRow) -> None:
    """Store a key of which nothing but its digest is known."""
    know_tenant(connection, row.tenant, row.created)
    connection.execute(
        insert(api_keys),
        {
            "id": row.id,
            "tenant": row.tenant,
            "name": row.name,
            "digest": row.digest,
            "scopes": sorted(row.scopes),
            "created": row.created,
            "expires": row.expires,
            "revoked": row.revoked,
        },
    )


def find_key(connection: Connection, key: str) -> KeyRow | None:
    """The key of that id, whoever's it is: the one thing that is looked up without a tenant."""
    row = connection.execute(_FIND, {"of_id": key}).mappings().one_or_none()
    return None if row is None else _row(row)


def keys_of(connection: Connection, tenant: str) -> list[KeyRow]:
    """All keys of a tenant, the oldest first, with those that hold no more."""
    return [_row(row) for row in connection.execute(_OF_TENANT, {"of_tenant": tenant}).mappings()]


def revoke_key(connection: Connection, tenant: str, key: str, now: datetime) -> bool:
    """Whether there was such a key that had not been revoked."""
    return connection.execute(_REVOKE, {"of_tenant": tenant, "of_id": key, "now": now}).rowcount > 0


def _row(row: RowMapping) -> KeyRow:
    told = cast("Mapping[str, object]", row)
    return KeyRow(**{**told, "scopes": frozenset(row["scopes"])})  # type: ignore[arg-type]
