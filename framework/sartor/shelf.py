"""A bot's documents as one user may read them: past the same policies as in a turn."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from sartor.bots import Bots
from sartor.errors import NamingError, UsageError
from sartor.judge import Judge
from sartor.policy import Kind
from sartor.store.rows import DocumentRow
from sartor.texts import in_language
from sartor.values import Chunk, Passage, Turn

__all__ = ["Found", "Shelf"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, the best first; or how the bot refuses it."""

    passages: Sequence[Passage] = ()
    refusal: str = ""
    """The bot's own words, where an input policy blocked the query."""


class Shelf:
    """The documents of one bot, for one user.

    Nothing is given out that the bot could not have quoted to this user: it is the audience's, the passage policies
    let it pass, and so do the output policies. What a policy refuses is left out.
    """

    def __init__(self, bots: Bots, bot_id: str, *, user: str, audience: str = "", language: str = "") -> None:
        self._bots = bots
        self._bot = bots[bot_id]
        self._store = bots.store.tenant(self._bot.info.tenant)
        self._user = user
        self._audience = audience
        self._language = language or self._bot.spec.languages[0]

    async def search(self, query: str, limit: int) -> Found:
        """At most `limit` passages for `query`. Raises `UsageError` for one that is longer than a question may be."""
        most = self._bot.spec.limits.question_characters
        if len(query) > most:
            raise UsageError(f"the query has {len(query)} characters; {self._bot.info.id} takes {most}")
        turn = self._turn(query)
        judge = Judge(self._bot.policies, replace(turn, text=""))
        text, verdict = await judge.input(query)
        if verdict.kind is not Kind.ALLOW:
            return Found(refusal=verdict.message or in_language(self._bot.spec.replies.blocked, self._language))
        judge.turn = turn = replace(turn, text=text)
        found = await self._bots.knowledge(self._bot.info.id).retrieve(turn, text, limit)
        fit = [passage for passage in found if passage.score >= self._bot.spec.retrieval.min_score]
        return Found(await _cleared(judge, fit))

    async def documents(self) -> dict[str, DocumentRow]:
        """The documents by source, without their text."""
        return await self._store.documents(self._bot.info.bot, self._audience)

    async def read(self, source: str) -> str:
        """The text of a document, as it was ingested; empty where there is no such document for this user."""
        try:
            stored = await self._store.document_chunks(self._bot.info.bot, source)
        except NamingError:
            return ""
        passages = [_passage(chunk) for chunk in stored if chunk.audience in ("", self._audience)]
        kept = await _cleared(Judge(self._bot.policies, self._turn("")), passages)
        parts = groupby(kept, key=lambda passage: passage.title)
        return "\n\n".join("\n\n".join([title, *(passage.text for passage in under)]) for title, under in parts)

    def _turn(self, text: str) -> Turn:
        info = self._bot.info
        return Turn(
            id=uuid.uuid4().hex,
            conversation=uuid.uuid4().hex,
            tenant=info.tenant,
            bot=info.bot,
            user=self._user,
            text=text,
            audience=self._audience,
            language=self._language,
        )


async def _cleared(judge: Judge, passages: Sequence[Passage]) -> list[Passage]:
    kept = []
    for passage in await judge.passages(passages):
        release = judge.release()
        text = await release.feed(passage.text, final=True)
        if release.blocked is None and text:
            kept.append(replace(passage, text=text))
    return kept


def _passage(chunk: Chunk) -> Passage:
    return Passage(chunk.id, chunk.tenant, chunk.source, chunk.title, chunk.text)
