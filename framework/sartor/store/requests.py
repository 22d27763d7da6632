"""Requests that may be sent again: a key of the caller's, and the turn that the first of them began.

The scheme is that of the IETF draft `Idempotency-Key` header field: the same key with another request is an error,
and a key is remembered for a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete

from sartor.store.rows import RequestRow
from sartor.store.schema import requests
from sartor.store.tenants import insert_or_keep, know_tenant

__all__ = ["claim", "forget_request"]

_REMEMBERED = timedelta(days=1)

_KEY = (
    requests.c.tenant == bindparam("of_tenant"),
    requests.c.user_id == bindparam("of_user"),
    requests.c.key == bindparam("of_key"),
)
_FORGET = delete(requests).where(*_KEY, requests.c.turn == bindparam("of_turn"))
_EXPIRE = delete(requests).where(requests.c.tenant == bindparam("of_tenant"), requests.c.created < bindparam("before"))


def claim(connection: Connection, key: Mapping[str, str], fingerprint: str, turn: str, now: datetime) -> RequestRow:
    """Remember that `turn` is the one for this key, or tell which one already is."""
    connection.execute(_EXPIRE, {"of_tenant": key["of_tenant"], "before": now - _REMEMBERED})
    know_tenant(connection, key["of_tenant"], now)
    insert = insert_or_keep(connection, requests).returning(requests.c.fingerprint, requests.c.turn, requests.c.created)
    row = {
        "tenant": key["of_tenant"],
        "user_id": key["of_user"],
        "key": key["of_key"],
        "fingerprint": fingerprint,
        "turn": turn,
        "created": now,
    }
    return RequestRow(*connection.execute(insert, row).one())


def forget_request(connection: Connection, key: Mapping[str, str], turn: str) -> None:
    """Let the key be used again, since its turn came to nothing."""
    connection.execute(_FORGET, {**key, "of_turn": turn})
