"""API keys: made at random, shown once, known afterwards by a keyed hash only.

A key is ``sartor_ID_SECRET``. ID finds its row; the hash covers the whole key, so no part of it can be exchanged.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sartor.errors import UsageError
from sartor.names import check_name
from sartor.server.secret import Secret
from sartor.store import KeyRow, Store

__all__ = ["SCOPES", "Keys"]

SCOPES = {
    "chat": "speak to the tenant's bots, in the name of any of its users",
    "documents": "add, list and remove documents",
    "search": "search and read the documents of the tenant's bots, over MCP",
    "read": "read all conversations of the tenant",
    "approve": "decide on tool calls that wait for a person",
    "people": "answer in conversations that were handed over to a person, and give them back",
}
"""What a key may be allowed, with what that means."""

_USE = "api keys"
_KEY = re.compile(r"sartor_([0-9a-z]{12})_[0-9A-Za-z_-]{43}")


class Keys:
    """The API keys of a service."""

    def __init__(self, store: Store, secret: Secret) -> None:
        self._store = store
        self._secret = secret

    async def create(
        self, tenant: str, *, name: str = "", scopes: frozenset[str] = frozenset({"chat"}), days: float | None = None
    ) -> tuple[str, KeyRow]:
        """A new key and its row. Raises `UsageError` for a scope that there is none, or no time to live."""
        check_name("tenant", tenant)
        if unknown := sorted(scopes - SCOPES.keys()):
            raise UsageError(f"there is no scope {unknown[0]!r}", remedy=f"There are: {', '.join(SCOPES)}.")
        if not scopes:
            raise UsageError("a key needs a scope", remedy=f"There are: {', '.join(SCOPES)}.")
        if days is not None and not 0 < days <= 36500:
            raise UsageError(f"a key cannot hold for {days:g} days", remedy="Give more than 0 and at most 36500.")
        id_ = "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(12))
        key = f"sartor_{id_}_{secrets.token_urlsafe(32)}"
        now = datetime.now(UTC)
        row = KeyRow(id_, tenant, name, self._secret.digest(_USE, key), scopes, now)
        if days is not None:
            row = replace(row, expires=now + timedelta(days=days))
        await self._store.tenant(tenant).add_key(row)
        return key, row

    async def check(self, key: str) -> KeyRow | None:
        """The row of a key that holds; None for any other, whatever is wrong with it."""
        match = _KEY.fullmatch(key)
        row = await self._store.find_key(match[1]) if match else None
        if row is None or not hmac.compare_digest(row.digest, self._secret.digest(_USE, key)):
            return None
        if row.revoked is not None or (row.expires is not None and row.expires <= datetime.now(UTC)):
            return None
        return row
