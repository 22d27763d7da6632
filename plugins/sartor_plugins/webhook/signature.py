"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

from sartor.errors import UsageError

__all__ = ["OLDEST", "key_of", "signature", "signed", "signed_headers"]

OLDEST = 300
"""Seconds by which the time of a request may differ from ours: an older one may be a replay."""


def key_of(secret: str) -> bytes:
    """The key in a secret ``whsec_…``. Raises `UsageError`, which does not repeat the secret."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or len(key) < 16:
        raise UsageError(
            "a secret of the webhook is none of Standard Webhooks",
            remedy="It is whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)",
        )
    return key


def signature(key: bytes, id_: str, timestamp: str, body: bytes) -> str:
    """One signature, as it stands in the header `webhook-signature`."""
    digest = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed(keys: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether somebody who knows one of `keys` sent this, not long ago. `headers` are by name in lower case."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id_ or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > OLDEST:
        return False
    given = [one.encode("utf-8", "replace") for one in headers.get("webhook-signature", "").split(" ")[:20]]
    right = False
    for key in keys:
        expected = signature(key, id_, timestamp, body).encode()
        right |= any([hmac.compare_digest(expected, one) for one in given])  # all of them, whichever is right
    return right


def signed_headers(keys: Sequence[bytes], id_: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a message, with a signature by each of `keys`: the receiver may know any of them."""
    timestamp = str(int(now))
    return {
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signature(key, id_, timestamp, body) for key in keys),
    }
