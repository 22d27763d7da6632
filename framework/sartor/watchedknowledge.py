"""Documents that are read again, before they are searched, when their files have changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.errors import SartorError
from sartor.knowledge import IngestReport, Knowledge, KnowledgeStore
from sartor.stamps import Stamps, changed, settled, stamps
from sartor.values import BotInfo, Passage, Turn

if TYPE_CHECKING:
    from sartor.retrieval import Index, Reader

__all__ = ["WatchedKnowledge"]

log = logging.getLogger("sartor.reload")


class WatchedKnowledge(Knowledge):
    """The documents of one bot, while somebody works on them.

    Only what changes from `before` on is read, or forgotten: a project that is opened without its documents loses none.
    """

    def __init__(
        self,
        bot: BotInfo,
        store: KnowledgeStore,
        index: Index,
        readers: Mapping[str, Reader],
        words: int,
        before: Stamps,
    ) -> None:
        """`before` is how the folder looked when what is stored was taken to be up to date."""
        super().__init__(bot, store, index, readers, words)
        self._seen = before
        self._looking = asyncio.Lock()
        self._told = ""

    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        """Like `Knowledge.retrieve`, with the documents as they are now."""
        async with self._looking:
            await self._refresh()
        return await super().retrieve(turn, query, limit)

    def cut(self, words: int) -> None:
        """Have the documents cut anew, into chunks of `words` at most, where that is another number."""
        if words != self._words:
            self._words = words
            self._seen = dict.fromkeys(self._seen, (0, 0, 0))

    async def _refresh(self) -> None:
        now = await asyncio.to_thread(self._look)
        if now == self._seen:
            return
        now = await asyncio.to_thread(settled, self._look, now)
        files = [file for file in changed(self._seen, now) if file.suffix.lower() in self.suffixes]
        try:
            report = await self.ingest([file for file in files if file.exists()])
            gone = [file.relative_to(self.folder).as_posix() for file in files if now.get(file) is None]
            removed = [source for source in gone if await self.forget(source)]
        except (SartorError, OSError) as error:
            self._tell(f"{self.bot.id}: knowledge is as it was, the next turn tries again: {error}")
            return
        self._seen, self._told = now, ""
        if said := _said(report, removed):
            log.info("%s: knowledge: %s", self.bot.id, said)
        for source, reason in (report.skipped or {}).items():
            log.error("%s: knowledge/%s cannot be read, what was read before stays: %s", self.bot.id, source, reason)

    def _look(self) -> Stamps:
        return stamps([self.folder]) if self.folder.is_dir() else {}

    def _tell(self, fault: str) -> None:
        if fault != self._told:  # once, not in every turn
            self._told = fault
            log.error("%s", fault)


def _said(report: IngestReport, removed: Sequence[str]) -> str:
    told = {"added": report.added, "changed": report.changed, "removed": removed}
    return "; ".join(f"{action} {_names(sources)}" for action, sources in told.items() if sources)


def _names(sources: Sequence[str], most: int = 3) -> str:
    more = f" and {len(sources) - most} more" if len(sources) > most else ""
    return ", ".join(Path(source).as_posix() for source in sources[:most]) + more
