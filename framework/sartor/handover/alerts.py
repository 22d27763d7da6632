"""Telling people of hand-overs through a channel: in the background, again when it fails, and never lost silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from sartor.channels import Channel, Notice
from sartor.delivery import Patience, insist

__all__ = ["Alerts"]

log = logging.getLogger("sartor.handover")


class Alerts:
    """The notices of one bot, sent in their order for each hand-over."""

    def __init__(
        self,
        channel: Channel,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._channel = channel
        self._patience = patience or Patience()
        self._sleep = sleep
        self._last: dict[str, asyncio.Task[None]] = {}

    def send(self, notice: Notice) -> None:
        """Send a notice when those of the same hand-over before it are sent. Returns at once."""
        id_ = notice.handover.id
        task = asyncio.create_task(self._sent(notice, self._last.get(id_)), name=f"notice {id_}")
        self._last[id_] = task
        task.add_done_callback(lambda done: self._last.pop(id_) if self._last.get(id_) is done else None)

    async def close(self, seconds: float = 5.0) -> None:
        """Give what is not sent yet `seconds`, then give up on it, and say so in the log."""
        if self._last:
            await asyncio.wait(set(self._last.values()), timeout=seconds)
        for task in list(self._last.values()):
            task.cancel()
        await asyncio.gather(*self._last.values(), return_exceptions=True)

    async def _sent(self, notice: Notice, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            why = await insist(partial(self._channel.alert, notice), self._patience, self._sleep)
        except asyncio.CancelledError:
            self._lost(notice, "the bot was closed before")
            raise
        if why:
            self._lost(notice, why)

    def _lost(self, notice: Notice, why: str) -> None:
        there = notice.handover
        log.error(
            "people were not told by channel %s of hand-over %s (%s) of %s/%s: %s; `sartor handovers` shows it",
            self._channel.name,
            there.id,
            notice.kind,
            there.tenant,
            there.bot,
            why,
        )
