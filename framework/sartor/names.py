"""Names of tenants, bots and conversations: what they may look like."""

from __future__ import annotations

import re

from sartor.errors import NamingError

__all__ = ["check_name", "split_bot_id"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESERVED = frozenset({"con", "prn", "aux", "nul"})


def check_name(kind: str, name: str) -> str:
    """`name`, when it can be one of a tenant or bot: lower-case letters, digits and single hyphens, at most 63.

    Such a name is safe in a path, a URL, a label and a host name. `kind` is the word for the message. Raises
    `NamingError`.
    """
    if len(name) > 63 or not _NAME.fullmatch(name) or name in _RESERVED:
        raise NamingError(
            f"{name!r} cannot be the name of a {kind}",
            remedy="Use lower-case letters, digits and single hyphens, at most 63: acme, north-shop-2.",
        )
    return name


def split_bot_id(text: str) -> tuple[str, str]:
    """Tenant and bot of ``tenant/bot``. Raises `NamingError`."""
    tenant, slash, bot = text.partition("/")
    if not slash:
        raise NamingError(f"{text!r} names no bot", remedy="Write TENANT/BOT, such as acme/support.")
    return check_name("tenant", tenant), check_name("bot", bot)
