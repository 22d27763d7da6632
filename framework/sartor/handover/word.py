"""What a person says by a channel, on its way to the user: work for `sartor.lanes`."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sartor.channels import Notice, Said
from sartor.delivery import fault
from sartor.errors import NamingError, SartorError, UsageError
from sartor.handover.desk import Desk

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots
    from sartor.store import TenantStore
    from sartor.values import HandOver

__all__ = ["Word"]

log = logging.getLogger("sartor.handover")


@dataclass(eq=False)
class Word:
    """One thing that a person said, or the release of a conversation."""

    bots: Bots
    bot: Bot
    channel: str
    said: Said
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def claim(self) -> bool:
        """Remember the event; false where it was taken before, here or in another process."""
        row = await self._store.claim(*self._claimed, "said", self.id)
        return row.turn == self.id

    async def run(self) -> None:
        """Have it said, or the bot released. A conversation that the bot has again is told so to who spoke."""
        said, desk = self.said, Desk(self.bots, self.bot.info.tenant)
        try:
            there = await desk.get(said.handover)
            if there.bot != self.bot.info.bot:
                raise NamingError(f"{self.bot.info.id} has no hand-over {said.handover!r}")
            if there.released is not None:
                self._tell_released(there)
            elif said.text:
                await desk.say(said.handover, said.text, by=said.by, tell=False)
            else:
                await desk.release(said.handover, by=said.by)
        except UsageError as error:
            log.warning("%s: %s", self._called, error.what)
            await self._perhaps_released(desk)
        except NamingError as error:
            log.warning("%s: %s", self._called, error.what)
        except asyncio.CancelledError:
            await self.drop()
            raise
        except Exception as error:
            log.error("%s: %s", self._called, error.what if isinstance(error, SartorError) else fault(error))
            await self.drop()

    async def _perhaps_released(self, desk: Desk) -> None:
        """Tell who spoke that the bot has the conversation again, where somebody released it meanwhile."""
        try:
            there = await desk.get(self.said.handover)
        except SartorError as error:
            log.error("%s: %s", self._called, error.what)
            return
        if there.released is not None:
            self._tell_released(there)

    def _tell_released(self, there: HandOver) -> None:
        if self.bot.alerts is not None:
            self.bot.alerts.send(Notice("released", there, id=self.id))

    async def drop(self) -> None:
        """It was not said: let the same event be taken again."""
        log.error("%s: it was not said", self._called)
        try:
            await self._store.forget_request(*self._claimed, self.id)
        except SartorError as error:
            log.error("%s: it cannot be taken again: %s", self._called, error.what)

    @property
    def _store(self) -> TenantStore:
        return self.bots.store.tenant(self.bot.info.tenant)

    @property
    def _claimed(self) -> tuple[str, str]:
        return f"people {self.channel}", f"{self.bot.info.bot} {self.said.event}"

    @property
    def _called(self) -> str:
        return f"event {self.said.event} of channel {self.channel} for hand-over {self.said.handover}"
