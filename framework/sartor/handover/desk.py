"""The person's side of hand-overs: what waits, what to say to the user, and giving the conversation back."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sartor.channels import Notice
from sartor.errors import NamingError, UsageError
from sartor.texts import in_language
from sartor.values import HandOver, Outcome, Reply, Turn

if TYPE_CHECKING:
    from sartor.bots import Bots
    from sartor.store import StoredTurn, TenantStore

__all__ = ["Desk"]

_MOST_TURNS = 1000
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
        """The conversation, the oldest turn first."""
        return await self._store.turns((await self.get(handover)).conversation, _MOST_TURNS)

    async def say(self, handover: str, text: str, *, by: str) -> Reply:
        """Say something to the user in a person's name. Raises `NamingError` and, for a hand-over that was released or
        a text that is none, `UsageError`."""
        there = await self._waiting(handover)
        if not by.strip() or len(by) > 200:
            raise UsageError("who says it?", remedy="Give a name of at most 200 characters.")
        if not text.strip() or len(text) > _LONGEST:
            raise UsageError(f"a message has 1 to {_LONGEST} characters")
        said = self._said(there, text, author=by)
        await self._store.commit(replace(said, handover=replace(there, taken_by=there.taken_by or by)))
        return said

    async def release(self, handover: str, *, by: str) -> HandOver:
        """Give the conversation back to the bot, which says so. Raises `NamingError`, and `UsageError` for one that was
        released already."""
        there = await self._waiting(handover)
        released = replace(there, taken_by=there.taken_by or by, released=datetime.now(UTC))
        bot = self._bots[f"{there.tenant}/{there.bot}"]
        language = await self._language(there, bot.spec.languages[0])
        back = in_language(bot.spec.hand_over.back, language) if bot.spec.hand_over else ""
        await self._store.commit(replace(self._said(there, back, author=""), handover=released))
        if bot.alerts is not None:
            bot.alerts.send(Notice("released", released))
        return released

    async def _waiting(self, handover: str) -> HandOver:
        there = await self.get(handover)
        if there.released is not None:
            raise UsageError(f"hand-over {handover} was released at {there.released:%Y-%m-%d %H:%M} UTC")
        return there

    async def _language(self, there: HandOver, default: str) -> str:
        turns = await self._store.turns(there.conversation, _MOST_TURNS)
        return turns[-1].reply.turn.language if turns else default

    def _said(self, there: HandOver, text: str, *, author: str) -> Reply:
        turn = Turn(
            uuid.uuid4().hex, there.conversation, there.tenant, there.bot, there.user, "", started=datetime.now(UTC)
        )
        return Reply(turn, text, Outcome.ANSWERED, author=author)
