"""Whether a request is Slack's: the signature `v0`, as https://docs.slack.dev/authentication/verifying-requests-from-slack
says."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

__all__ = ["OLDEST", "signature", "signed"]

OLDEST = 300
"""Seconds by which the time of a request may differ from ours: an older one may be a replay."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What Slack writes into the header `X-Slack-Signature`."""
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return f"v0={digest}"


def signed(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether somebody who knows `secret` sent this, not long ago. `headers` are by name in lower case."""
    timestamp = headers.get("x-slack-request-timestamp", "")
    given = headers.get("x-slack-signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > OLDEST:
        return False
    return hmac.compare_digest(signature(secret, timestamp, body).encode(), given.encode("utf-8", "replace"))
