"""Sending a reply back through a channel: again when it fails, and never lost without a word."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sartor.channels import Channel, Message
from sartor.errors import DeliveryError
from sartor.values import Reply

__all__ = ["Patience", "deliver", "fault", "insist"]

log = logging.getLogger("sartor.channels")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one part of a reply is tried to be sent."""

    tries: int = 8
    first: float = 0.5
    """Seconds before the second try; each further wait is twice as long."""
    longest: float = 120.0
    """Most seconds between two tries, also where the platform asks for more."""


async def deliver(
    channel: Channel,
    message: Message,
    reply: Reply,
    *,
    patience: Patience | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> bool:
    """Send `reply`; false when a part of it could not be sent, which is logged with all that leads to the turn."""
    patience = patience or Patience()
    try:
        parts = channel.write(message, reply)
    except Exception as error:
        _lost(channel, message, reply, fault(error))
        return False
    for number, part in enumerate(parts):
        if why := await insist(partial(channel.send, message, part), patience, sleep):
            _lost(channel, message, reply, f"part {number + 1} of {len(parts)}: {why}")
            return False
    return True


async def insist(
    attempt: Callable[[], Awaitable[None]], patience: Patience, sleep: Callable[[float], Awaitable[object]]
) -> str:
    """Do `attempt`, again when it fails in a way that may pass. Why it failed; empty when it did not."""
    why = ""
    for number in range(patience.tries):
        asked: float | None = None
        try:
            await attempt()
            return ""
        except DeliveryError as error:
            why = error.what
            if not error.again:
                return why
            asked = error.retry_after
        except Exception as error:
            why = fault(error)
        if number + 1 < patience.tries:
            backoff = patience.first * 2**number * random.uniform(0.75, 1.25)
            await sleep(min(asked if asked is not None else backoff, patience.longest))
    return f"{why} (tried {patience.tries} times)"


def fault(error: BaseException) -> str:
    """An error without its message, which may repeat what a user wrote: its kind and its place."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    at = f" ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})" if frame is not None else ""
    return f"{type(error).__name__}{at}"


def _lost(channel: Channel, message: Message, reply: Reply, why: str) -> None:
    turn = reply.turn
    log.error(
        "the reply of turn %s of %s/%s to event %s of channel %s was not sent: %s",
        turn.id,
        turn.tenant,
        turn.bot,
        message.event,
        channel.name,
        why,
    )
