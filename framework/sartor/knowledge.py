"""The documents of one bot: from files to chunks, and from a question to passages.

The text of record is in the state database and the index can be rebuilt from it, so a document is stored
first and indexed second. What a crash leaves undone in between is mended by the next `Knowledge.ingest`.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from sartor.errors import BusyError, KnowledgeError, SartorError, StoreError
from sartor.folder import Found, find_documents
from sartor.text import CHUNKER_VERSION, Piece, chunks
from sartor.values import BotInfo, Chunk, Passage, Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from sartor.retrieval import Index, Reader

__all__ = ["DocumentRow", "IngestReport", "IngestStep", "Knowledge", "KnowledgeStore"]

_T = TypeVar("_T")

_BATCH = 500
"""Chunks that are given to the index at once."""


class DocumentRow(Protocol):
    """What the store tells of a document without its text."""

    @property
    def sha256(self) -> str:
        """What `put_document` was given."""

    @property
    def chunks(self) -> int:
        """How many chunks it has."""


class KnowledgeStore(Protocol):
    """The part of the state database, bound to one tenant, that holds the text of record."""

    @property
    def tenant(self) -> str:
        """The only tenant whose data it reads and writes."""

    async def documents(self, bot: str) -> Mapping[str, DocumentRow]:
        """The bot's documents by source."""

    async def put_document(
        self, bot: str, source: str, sha256: str, title: str, chunks: Sequence[Chunk]
    ) -> Sequence[str]:
        """Replace a document in one transaction; the ids of chunks that are no longer there."""

    async def remove_document(self, bot: str, source: str) -> Sequence[str]:
        """Forget a document; the ids of its chunks."""

    async def chunks(self, bot: str, ids: Sequence[str]) -> Mapping[str, Chunk]:
        """Chunks by id; unknown ids are left out."""

    async def all_chunks(self, bot: str) -> Sequence[Chunk]:
        """Every chunk of the bot."""


@dataclass(frozen=True, slots=True)
class IngestStep:
    """One document is done: `action` is ``added``, ``changed``, ``unchanged``, ``removed`` or ``skipped``."""

    source: str
    action: str
    chunks: int = 0
    reason: str = ""
    """Why it was skipped."""
    done: int = 0
    total: int = 0
    """How many documents are done, of how many."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did, by source."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    skipped: Mapping[str, str] | None = None
    """Sources that were passed over, with the reason. A document that once could be read keeps that text."""
    chunks: int = 0
    """How many chunks the bot has now."""
    mended: int = 0
    """Chunks that the index lacked or held for nothing, from an ingest that was interrupted."""
    seconds: float = 0.0


class Knowledge:
    """The documents of one bot, as a `sartor.retrieval.Retriever`."""

    def __init__(
        self, bot: BotInfo, store: KnowledgeStore, index: Index, readers: Mapping[str, Reader], words: int = 120
    ) -> None:
        """`readers` by lower-case suffix (``.md``); `words` is the greatest length of a chunk."""
        if store.tenant != bot.tenant:
            raise KnowledgeError(f"The knowledge of {bot.id} cannot be kept in the store of tenant {store.tenant!r}")
        self.bot = bot
        self.folder = bot.directory / "knowledge"
        self._store = store
        self._index = index
        self._readers = readers
        self._words = words
        self._writing = asyncio.Lock()

    async def ingest(
        self, paths: Sequence[Path] | None = None, *, progress: Callable[[IngestStep], None] | None = None
    ) -> IngestReport:
        """Read the bot's knowledge folder, or only the files and folders `paths` below it.

        Unchanged files cost no more than reading them; documents whose file is gone are forgotten, unless
        `paths` is given. A document that cannot be read is reported and skipped. Raises `KnowledgeError` for
        a path outside the folder, `StoreError` when the disk is full, `BusyError` when another process holds
        the index.
        """
        async with self._writing:
            started = time.monotonic()
            found, skipped = await asyncio.to_thread(find_documents, self.folder, paths, frozenset(self._readers))
            rows = await self._store.documents(self.bot.bot)
            gone = [] if paths is not None else sorted(set(rows) - {one.source for one in found})
            ledger = _Ledger(len(found) + len(skipped) + len(gone), progress)
            for one in skipped:
                ledger.note(one.source, "skipped", reason=one.reason)
            for source in gone:
                await self._remove(source)
                ledger.note(source, "removed")
            for document in found:
                await self._ingest_one(document, rows.get(document.source), ledger)
            total, mended = await self._mend()
            return ledger.report(total, mended, time.monotonic() - started)

    @property
    def suffixes(self) -> frozenset[str]:
        """How the names of files end that can be read."""
        return frozenset(self._readers)

    async def forget(self, source: str) -> bool:
        """Forget one document, whose file is left alone; false where there is none."""
        async with self._writing:
            known = source in await self._store.documents(self.bot.bot)
            if known:
                await self._remove(source)
            return known

    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        """At most `limit` passages for `query`, the best first. Raises `KnowledgeError` for a foreign turn."""
        if (turn.tenant, turn.bot) != (self.bot.tenant, self.bot.bot):
            raise KnowledgeError(f"A turn of {turn.tenant}/{turn.bot} cannot search the documents of {self.bot.id}")
        if limit < 1 or not query.strip():
            return []
        hits = await self._index.search(query, limit, turn.audience, before=turn.before)
        found = await self._store.chunks(self.bot.bot, [hit.chunk for hit in hits])
        passages = []
        for hit in hits[:limit]:
            chunk = found.get(hit.chunk)
            if chunk is None or (chunk.tenant, chunk.bot) != (self.bot.tenant, self.bot.bot):
                continue
            if chunk.audience in ("", turn.audience):
                passages.append(
                    Passage(chunk.id, chunk.tenant, chunk.source, chunk.title, chunk.text, hit.score, hit.parts)
                )
        return passages

    async def rebuild(self) -> int:
        """Make the index anew from the text of record, after another choice of embeddings; the number of chunks."""
        async with self._writing:
            await self._guard(self._index.clear)
            total, _ = await self._mend()
            return total

    async def clear_index(self) -> None:
        """Empty the search index. The text of record stays."""
        async with self._writing:
            await self._guard(self._index.clear)

    async def erase(self) -> None:
        """Forget every document of the bot, in the index and in the store. The files stay."""
        async with self._writing:
            for source in await self._store.documents(self.bot.bot):
                await self._store.remove_document(self.bot.bot, source)
            await self._guard(self._index.clear)

    async def close(self) -> None:
        """Release the index's files and locks."""
        await self._index.close()

    async def _ingest_one(self, document: Found, row: DocumentRow | None, ledger: _Ledger) -> None:
        try:
            read = await asyncio.to_thread(self._read, document, row.sha256 if row else "")
        except OSError as exc:
            ledger.note(document.source, "skipped", reason=exc.strerror or str(exc))
            return
        except Exception as exc:
            reason = exc.what if isinstance(exc, SartorError) else f"{type(exc).__name__}: {exc}"
            ledger.note(document.source, "skipped", reason=" ".join(reason.split())[:300])
            return
        if read is None:
            ledger.note(document.source, "unchanged", chunks=row.chunks if row else 0)
            return
        sha256, title, made = read
        gone = await self._guard(lambda: self._store.put_document(self.bot.bot, document.source, sha256, title, made))
        await self._guard(lambda: self._index.remove(gone))
        await self._add(made)
        ledger.note(document.source, "changed" if row else "added", chunks=len(made))

    def _read(self, document: Found, known: str) -> tuple[str, str, list[Chunk]] | None:
        """Fingerprint, title and chunks of a file, or None where the fingerprint is the known one. Blocks."""
        seed = f"{CHUNKER_VERSION}:{self._words}:{document.audience}:"
        digest = hashlib.sha256(seed.encode())
        with document.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        sha256 = digest.hexdigest()
        if sha256 == known:
            return None
        read = self._readers[document.path.suffix.lower()](document.path)
        title = " ".join(read.title.split()) or document.path.stem
        pieces = chunks(replace(read, title=title), self._words)
        if not pieces:
            raise KnowledgeError("it holds no text")
        return sha256, title, [self._chunk(document, number, piece) for number, piece in enumerate(pieces)]

    def _chunk(self, document: Found, position: int, piece: Piece) -> Chunk:
        source = f"{document.source}#{piece.anchor}" if piece.anchor else document.source
        told = (self.bot.tenant, self.bot.bot, source, str(position), document.audience, piece.title, piece.text)
        digest = hashlib.sha256("\0".join(told).encode(errors="surrogatepass")).hexdigest()
        return Chunk(
            digest[:32], self.bot.tenant, self.bot.bot, source, piece.title, piece.text, position, document.audience
        )

    async def _remove(self, source: str) -> None:
        gone = await self._guard(lambda: self._store.remove_document(self.bot.bot, source))
        await self._guard(lambda: self._index.remove(gone))

    async def _add(self, made: Sequence[Chunk]) -> None:
        for at in range(0, len(made), _BATCH):
            batch = made[at : at + _BATCH]
            await self._guard(lambda batch=batch: self._index.add(batch))  # type: ignore[misc]

    async def _mend(self) -> tuple[int, int]:
        """Make the index hold what the store holds; how many chunks there are, and how many had to be mended."""
        stored = {chunk.id: chunk for chunk in await self._store.all_chunks(self.bot.bot)}
        indexed = await self._guard(self._index.ids)
        missing = [chunk for id_, chunk in stored.items() if id_ not in indexed]
        surplus = sorted(indexed - stored.keys())
        await self._add(missing)
        if surplus:
            await self._guard(lambda: self._index.remove(surplus))
        return len(stored), len(missing) + len(surplus)

    async def _guard(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do `work`, with what the operating system may say put in Sartor's words."""
        try:
            return await work()
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(
                    f"There is no room left to ingest the documents of {self.bot.id}",
                    where=str(self.bot.data),
                    remedy="Make room on the disk, then ingest again: what is stored already is kept.",
                ) from exc
            if exc.errno in (errno.EAGAIN, errno.EBUSY, errno.EDEADLK):
                raise BusyError(
                    f"The index of {self.bot.id} is in use",
                    where=str(self.bot.data),
                    remedy="Stop the other process (such as `sartor serve`), or ingest through it.",
                ) from exc
            raise KnowledgeError(
                f"The index of {self.bot.id} cannot be used: {exc.strerror or exc}",
                where=str(self.bot.data),
                remedy="Check the folder's owner and permissions.",
            ) from exc


class _Ledger:
    """Keeps account of an ingest and tells its progress."""

    def __init__(self, total: int, progress: Callable[[IngestStep], None] | None) -> None:
        self._total = total
        self._progress = progress
        self._steps: list[IngestStep] = []

    def note(self, source: str, action: str, *, chunks: int = 0, reason: str = "") -> None:
        step = IngestStep(source, action, chunks, reason, len(self._steps) + 1, self._total)
        self._steps.append(step)
        if self._progress:
            self._progress(step)

    def report(self, chunks: int, mended: int, seconds: float) -> IngestReport:
        def named(action: str) -> tuple[str, ...]:
            return tuple(step.source for step in self._steps if step.action == action)

        return IngestReport(
            named("added"),
            named("changed"),
            named("unchanged"),
            named("removed"),
            {step.source: step.reason for step in self._steps if step.action == "skipped"},
            chunks,
            mended,
            seconds,
        )
