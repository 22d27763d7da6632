"""The person's side of hand-overs: what waits, what to say to the user, and giving the conversation back."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sartor.channels import Notice
from sartor.delivery import Patience, deliver, fault
from sartor.errors import NamingError, SartorError, UsageError
from sartor.texts import in_language
from sartor.values import HandOver, Outcome, Reply, Turn

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots
    from sartor.store import StoredTurn, TenantStore

__all__ = ["Desk"]

log = logging.getLogger("sartor.handover")

_MOST_TURNS = 1000
_PATIENCE = Patience(tries=4)
_LONGEST = 20_000


class Desk:
    """The hand-overs of one tenant, for the people who take them: ``Desk(bots, "acme")``."""

    def __init__(self, bots: Bots, tenant: str) -> None:
        """Raises `NamingError` for a tenant that there is none."""
        bots.project.tenant(tenant)
        self._bots = bots
        self._tenant = tenant
        self._store: TenantStore = bots.store.tenant(tenant)

    async def open(self) -> list[HandOver]:
        """Those that are not released yet, the oldest first."""
        return await self._store.open_handovers()

    async def get(self, handover: str) -> HandOver:
        """One of them, released or not. Raises `NamingError` where there is none."""
        found = await self._store.handover(handover)
        if found is None:
            remedy = "`sartor handovers TENANT` lists those that wait."
            raise NamingError(f"{self._tenant} has no hand-over {handover!r}", remedy=remedy)
        return found

    async def turns(self, handover: str) -> list[StoredTurn]:
        """The conversation, the oldest turn first; of one with more than a thousand, the last ones."""
        return await self._store.last_turns((await self.get(handover)).conversation, _MOST_TURNS)

    async def say(self, handover: str, text: str, *, by: str, tell: bool = True) -> Reply:
        """Say something to the user in a person's name: it is stored, and sent where the user writes from a channel.
        With `tell`, the bot's people are told of it. Raises `NamingError` and, for a hand-over that was released or a
        text that is none, `UsageError`."""
        there = await self._waiting(handover)
        if not by.strip() or len(by) > 200:
            raise UsageError("who says it?", remedy="Give a name of at most 200 characters.")
        if not text.strip() or len(text) > _LONGEST:
            raise UsageError(f"a message has 1 to {_LONGEST} characters")
        said = self._said(there, text, author=by)
        taken = replace(there, taken_by=there.taken_by or by)
        await self._store.commit_said(replace(said, handover=taken))
        if (bot := self._bot(there)) is not None:
            if tell and bot.alerts is not None:
                bot.alerts.send(Notice("said", taken, text, said.turn.id, by))
            await self._send(bot, there, said)
        return said

    async def release(self, handover: str, *, by: str) -> HandOver:
        """Give the conversation back to the bot, which says so. Raises `NamingError`, and `UsageError` for one that was
        released already."""
        there = await self._waiting(handover)
        released = replace(there, taken_by=there.taken_by or by, released=datetime.now(UTC))
        bot = self._bots[f"{there.tenant}/{there.bot}"]
        language = await self._language(there, bot.spec.languages[0])
        back = in_language(bot.spec.hand_over.back, language) if bot.spec.hand_over else ""
        said = self._said(there, back, author="")
        await self._store.commit_said(replace(said, handover=released))
        if bot.alerts is not None:
            bot.alerts.send(Notice("released", released, id=f"{there.id}.released"))
        if back:
            await self._send(bot, there, said)
        return released

    def _bot(self, there: HandOver) -> Bot | None:
        """The bot that handed over; None where it cannot be had any more, which stops nobody from answering."""
        try:
            return self._bots[f"{there.tenant}/{there.bot}"]
        except SartorError as error:
            log.error("hand-over %s: nobody is told of what was said: %s", there.id, error)
            return None

    async def _send(self, bot: Bot, there: HandOver, said: Reply) -> None:
        """Send what was said where the user writes from a channel that can be written to. What cannot be sent is
        logged, and stands in the conversation all the same."""
        for channel in bot.channels:
            try:
                to = channel.address(there.conversation, there.user)
            except Exception as error:
                log.error("hand-over %s: channel %s has no address: %s", there.id, channel.name, fault(error))
                continue
            if to is not None:
                await deliver(channel, to, said, patience=_PATIENCE)

    async def _waiting(self, handover: str) -> HandOver:
        there = await self.get(handover)
        if there.released is not None:
            raise UsageError(f"hand-over {handover} was released at {there.released:%Y-%m-%d %H:%M} UTC")
        return there

    async def _language(self, there: HandOver, default: str) -> str:
        turns = await self._store.last_turns(there.conversation, 1)
        return turns[-1].reply.turn.language if turns else default

    def _said(self, there: HandOver, text: str, *, author: str) -> Reply:
        turn = Turn(
            uuid.uuid4().hex, there.conversation, there.tenant, there.bot, there.user, "", started=datetime.now(UTC)
        )
        return Reply(turn, text, Outcome.ANSWERED, author=author)
