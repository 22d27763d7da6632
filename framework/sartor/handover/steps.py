"""Hand-over in a turn: whether a person has the conversation, whether one is wanted, and what is said then."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sartor.channels import Notice
from sartor.handover.summary import summary_of
from sartor.texts import in_language
from sartor.values import HandOver, Outcome
from sartor.words import stems_of

if TYPE_CHECKING:
    from sartor.store import StoredTurn
    from sartor.turn import TurnPath

__all__ = ["HandOverSteps"]

_MOST_TURNS = 50
_MOST_WORDS = 12


class HandOverSteps:
    """The hand-over of one turn."""

    def __init__(self, path: TurnPath) -> None:
        self._path = path
        self._spec = path.spec.hand_over if path.options.history is None else None
        self._open: HandOver | None = None
        self.new: HandOver | None = None
        """The one that this turn led to: it is stored with the turn."""
        self.notice: Notice | None = None
        """What people are to be told when the turn is committed."""

    async def load(self) -> None:
        """Find out whether a person has the conversation."""
        if self._spec is not None:
            turn = self._path.turn
            self._open = await self._path.parts.store.open_handover(turn.bot, turn.user, turn.conversation)

    async def take(self) -> bool:
        """Pass the message on where a person has the conversation, or call one where the user asks for it; false
        where the bot is to answer."""
        if self._open is not None:
            await self._pass_on(self._open)
            return True
        if self._spec is not None and self._asked():
            await self.begin("the user asked for a person", {})
            return True
        return False

    async def begin(self, reason: str, details: Mapping[str, str]) -> None:
        """Call a person, and say so. `details` is what was found out, by label."""
        assert self._spec is not None, "a flow hands over only where the bot does"
        await self._call(reason, details)
        gap = "\n\n" if self._path.release.text else ""
        await self._path.give(f"{gap}{in_language(self._spec.reply, self._path.turn.language)}", final=True)

    async def afterwards(self) -> None:
        """Call a person where too many turns in a row came to nothing."""
        outcome = self._path.outcome
        limit = getattr(self._spec.when, outcome.value, None) if self._spec is not None else None
        if self._spec is None or limit is None or self._path.outcome is Outcome.HANDED_OVER:
            return
        earlier = await self._earlier(limit - 1)
        run = 1
        for stored in reversed(earlier):
            if stored.reply.outcome is not outcome:
                break
            run += 1
        if run >= limit:
            await self._call(f"{run} turns in a row: {outcome.value}", {})
            await self._path.add(in_language(self._spec.reply, self._path.turn.language))

    def stored(self, there: HandOver | None) -> None:
        """Learn which hand-over is stored. Where another turn of the conversation called a person first, people are
        told of that one alone."""
        called = self.notice is not None and self.notice.kind == "started"
        if called and self.new is not None and (there is None or there.id != self.new.id):
            self.notice = None

    async def _call(self, reason: str, details: Mapping[str, str]) -> None:
        turn = self._path.turn
        summary = summary_of(await self._earlier(_MOST_TURNS), turn.text, turn.attributes, details)
        since = turn.started or datetime.now(UTC)
        self.new = HandOver(
            uuid.uuid4().hex, turn.tenant, turn.bot, turn.user, turn.conversation, reason, summary, since
        )
        self.notice = Notice("started", self.new, id=turn.id)
        self._path.outcome = Outcome.HANDED_OVER

    async def _pass_on(self, there: HandOver) -> None:
        """The bot is silent, but for one word to a user who waits."""
        assert self._spec is not None
        self._path.outcome = Outcome.SILENT
        self.notice = Notice("message", there, self._path.turn.text, self._path.turn.id)
        if not there.taken_by and not there.waited:
            self.new = replace(there, waited=True)
            await self._path.give(in_language(self._spec.waiting, self._path.turn.language), final=True)

    def _asked(self) -> bool:
        assert self._spec is not None
        said = self._path.turn.text
        if len(said.split()) > _MOST_WORDS:
            return False
        stems = stems_of(said)
        return any((wanted := stems_of(phrase)) and wanted <= stems for phrase in self._spec.phrases)

    async def _earlier(self, most: int) -> list[StoredTurn]:
        return await self._path.parts.store.last_turns(self._path.turn.conversation, most)
