"""Requests with an ``Idempotency-Key``: the second of the same kind is answered with the turn of the first."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta

from sartor.server.failures import Failure
from sartor.server.live import LiveTurn, LiveTurns, Question
from sartor.store import StoredTurn, TenantStore

__all__ = ["fingerprint", "first_of"]

_PAUSES = (0.02, 0.1, 0.3, 0.0)
"""Seconds between looks for a turn that was claimed, and is about to begin."""
_MARGIN = timedelta(seconds=60)
"""After a turn's own time, its process must have died when it is neither running nor stored."""


def fingerprint(question: Question) -> str:
    """What makes two questions the same."""
    told = [question.bot_id, question.text, question.conversation, question.audience, question.language]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


async def first_of(
    store: TenantStore, live: LiveTurns, user: str, key: str, told: str, turn: str, seconds: float
) -> LiveTurn | StoredTurn | None:
    """The turn that the request `key` of `user` already led to; None when `turn` is to be the first.

    `told` is the fingerprint of the question, `seconds` the longest time of a turn. Raises `Failure` 409 where the
    key was used for another question, or its turn runs in another process.
    """
    row = await store.claim(user, key, told, turn)
    if row.turn == turn:
        return None
    if row.fingerprint != told:
        raise Failure(409, "this Idempotency-Key was used for another request", code="idempotency_mismatch")
    for pause in _PAUSES:
        if running := live.find(store.tenant, row.turn):
            return running
        if stored := await store.reply(row.turn):
            return stored
        await asyncio.sleep(pause)
    if row.created + timedelta(seconds=seconds) + _MARGIN < datetime.now(UTC):
        await store.forget_request(user, key, row.turn)
        if (await store.claim(user, key, told, turn)).turn == turn:
            return None
    headers = {"Retry-After": "1"}
    raise Failure(409, "the first request with this key is still at work", code="idempotency_busy", headers=headers)
