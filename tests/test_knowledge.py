"""Ingesting a folder and finding passages, over a store and an index in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sartor.errors import BusyError, KnowledgeError, StoreError
from sartor.knowledge import IngestStep, Knowledge
from sartor.retrieval import Document, Section
from sartor.values import BotInfo, Chunk, Hit, Turn


@dataclass
class Row:
    sha256: str
    chunks: int


class MemoryStore:
    def __init__(self, tenant: str = "acme") -> None:
        self.tenant = tenant
        self.rows: dict[str, Row] = {}
        self.text: dict[str, list[Chunk]] = {}

    async def documents(self, bot: str) -> Mapping[str, Row]:
        return dict(self.rows)

    async def put_document(
        self, bot: str, source: str, sha256: str, title: str, chunks: Sequence[Chunk]
    ) -> Sequence[str]:
        new = {chunk.id for chunk in chunks}
        gone = [chunk.id for chunk in self.text.get(source, []) if chunk.id not in new]
        self.rows[source] = Row(sha256, len(chunks))
        self.text[source] = list(chunks)
        return gone

    async def remove_document(self, bot: str, source: str) -> Sequence[str]:
        self.rows.pop(source, None)
        return [chunk.id for chunk in self.text.pop(source, [])]

    async def chunks(self, bot: str, ids: Sequence[str]) -> Mapping[str, Chunk]:
        return {chunk.id: chunk for chunk in await self.all_chunks(bot) if chunk.id in ids}

    async def all_chunks(self, bot: str) -> Sequence[Chunk]:
        return [chunk for chunks in self.text.values() for chunk in chunks]


class MemoryIndex:
    """Finds the chunks that hold the query."""

    def __init__(self) -> None:
        self.held: dict[str, Chunk] = {}
        self.fails: OSError | None = None
        self.closed = False

    async def add(self, chunks: Sequence[Chunk]) -> None:
        if self.fails:
            raise self.fails
        self.held.update({chunk.id: chunk for chunk in chunks})

    async def remove(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self.held.pop(id_, None)

    async def search(self, query: str, limit: int, audience: str = "", *, before: str = "") -> Sequence[Hit]:
        found = [chunk for chunk in self.held.values() if query in chunk.text]
        return [Hit(chunk.id, 0.5) for chunk in found[:limit]]

    async def ids(self) -> frozenset[str]:
        return frozenset(self.held)

    async def clear(self) -> None:
        self.held.clear()

    async def close(self) -> None:
        self.closed = True


def read(path: Path) -> Document:
    text = path.read_text()
    if "broken" in text:
        raise ValueError("it is broken")
    return Document(path.stem, (Section("", text),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "acme/support/knowledge"
    path.mkdir(parents=True)
    (path / "delivery.txt").write_text("We deliver in three days.")
    (path / "returns.txt").write_text("You may return it.")
    return path


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def index() -> MemoryIndex:
    return MemoryIndex()


@pytest.fixture
def knowledge(folder: Path, tmp_path: Path, store: MemoryStore, index: MemoryIndex) -> Knowledge:
    bot = BotInfo("acme", "support", folder.parent, tmp_path / "data/acme")
    return Knowledge(bot, store, index, {".txt": read})


def turn(tenant: str = "acme", bot: str = "support", audience: str = "") -> Turn:
    return Turn("t", "c", tenant, bot, "anonymous", "?", audience)


async def test_files_are_added_left_alone_changed_and_removed(
    knowledge: Knowledge, folder: Path, index: MemoryIndex
) -> None:
    steps: list[IngestStep] = []
    report = await knowledge.ingest(progress=steps.append)
    assert report.added == ("delivery.txt", "returns.txt")
    assert (report.chunks, report.mended) == (2, 0)
    assert [(step.source, step.done, step.total) for step in steps] == [("delivery.txt", 1, 2), ("returns.txt", 2, 2)]

    before = dict(index.held)
    assert (await knowledge.ingest()).unchanged == ("delivery.txt", "returns.txt")
    assert index.held == before

    (folder / "delivery.txt").write_text("We deliver in two days.")
    (folder / "returns.txt").unlink()
    report = await knowledge.ingest()
    assert (report.changed, report.removed, report.chunks) == (("delivery.txt",), ("returns.txt",), 1)
    assert [chunk.text for chunk in index.held.values()] == ["We deliver in two days."]


async def test_ids_are_derived_from_content(knowledge: Knowledge, index: MemoryIndex) -> None:
    await knowledge.ingest()
    before = set(index.held)
    await knowledge.erase()
    assert not index.held
    await knowledge.ingest()
    assert set(index.held) == before


async def test_only_named_files(knowledge: Knowledge, folder: Path) -> None:
    await knowledge.ingest()
    (folder / "more").mkdir()
    (folder / "more/new.txt").write_text("Something new.")
    (folder / "returns.txt").unlink()
    report = await knowledge.ingest([folder / "more"])
    assert (report.added, report.removed) == (("more/new.txt",), ())
    with pytest.raises(KnowledgeError, match="not in the bot's knowledge folder"):
        await knowledge.ingest([folder.parent / "bot.yaml"])
    with pytest.raises(KnowledgeError, match="no file or folder"):
        await knowledge.ingest([folder / "absent.txt"])


async def test_what_cannot_be_read_is_named_and_the_rest_kept(knowledge: Knowledge, folder: Path) -> None:
    (folder / "bad.txt").write_text("broken")
    (folder / "empty.txt").write_text(" ")
    (folder / "photo.png").write_bytes(b"x")
    (folder / ".hidden.txt").write_text("Hidden text.")
    (folder / "~$open.txt").write_text("A lock file of Word.")
    os.symlink("/etc/hosts", folder / "hosts.txt")
    os.symlink("/etc", folder / "etc")
    os.symlink(folder / "nowhere", folder / "dangling.txt")
    os.mkfifo(folder / "pipe.txt")
    report = await knowledge.ingest()
    assert report.added == ("delivery.txt", "returns.txt")
    assert report.skipped == {
        ".hidden.txt": "hidden",
        "bad.txt": "ValueError: it is broken",
        "dangling.txt": "cannot be opened: No such file or directory",
        "empty.txt": "it holds no text",
        "etc": "a link that leaves the knowledge folder",
        "hosts.txt": "a link that leaves the knowledge folder",
        "photo.png": "no reader for .png files",
        "pipe.txt": "not a regular file",
        "~$open.txt": "hidden",
    }


async def test_a_document_that_can_no_longer_be_read_keeps_its_text(
    knowledge: Knowledge, folder: Path, index: MemoryIndex
) -> None:
    await knowledge.ingest()
    (folder / "delivery.txt").write_text("broken")
    report = await knowledge.ingest()
    assert report.skipped == {"delivery.txt": "ValueError: it is broken"}
    assert any("three days" in chunk.text for chunk in index.held.values())


async def test_a_crash_between_store_and_index_is_mended(knowledge: Knowledge, index: MemoryIndex) -> None:
    index.fails = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match="no room left"):
        await knowledge.ingest()
    index.fails = None
    index.held["foreign"] = Chunk("foreign", "acme", "support", "x", "x", "x", 0)
    report = await knowledge.ingest()
    assert (report.added, report.unchanged, report.mended) == (("returns.txt",), ("delivery.txt",), 2)
    assert len(index.held) == 2


@pytest.mark.parametrize(("number", "error"), [(errno.EACCES, KnowledgeError), (errno.EAGAIN, BusyError)])
async def test_errors_of_the_system_get_a_remedy(
    knowledge: Knowledge, index: MemoryIndex, number: int, error: type[Exception]
) -> None:
    index.fails = OSError(number, "said the system")
    with pytest.raises(error) as caught:
        await knowledge.ingest()
    assert caught.value.remedy  # type: ignore[attr-defined]
    assert isinstance(caught.value.__cause__, OSError)


async def test_passages_of_an_audience(knowledge: Knowledge, folder: Path) -> None:
    (folder / "audience=business").mkdir()
    (folder / "audience=business/prices.txt").write_text("We deliver to companies for free.")
    await knowledge.ingest()
    everybody = await knowledge.retrieve(turn(), "We deliver", 5)
    assert [passage.source for passage in everybody] == ["delivery.txt"]
    business = await knowledge.retrieve(turn(audience="business"), "We deliver", 5)
    assert {passage.source for passage in business} == {"delivery.txt", "audience=business/prices.txt"}
    assert all(passage.tenant == "acme" for passage in business)


async def test_a_foreign_turn_or_store_is_refused(knowledge: Knowledge) -> None:
    await knowledge.ingest()
    for foreign in (turn(tenant="other"), turn(bot="other")):
        with pytest.raises(KnowledgeError, match="cannot search"):
            await knowledge.retrieve(foreign, "deliver", 5)
    with pytest.raises(KnowledgeError, match="store of tenant 'other'"):
        Knowledge(knowledge.bot, MemoryStore("other"), MemoryIndex(), {})


async def test_foreign_and_unknown_chunks_are_dropped(
    knowledge: Knowledge, store: MemoryStore, index: MemoryIndex
) -> None:
    foreign = Chunk("foreign", "other", "support", "x.txt", "x", "We deliver secrets.", 0)
    unknown = Chunk("unknown", "acme", "support", "x.txt", "x", "We deliver nothing.", 0)
    index.held.update(foreign=foreign, unknown=unknown)
    store.text["x.txt"] = [foreign]
    assert await knowledge.retrieve(turn(), "We deliver", 5) == []


@pytest.mark.parametrize(("query", "limit"), [("", 5), ("  ", 5), ("deliver", 0)])
async def test_nothing_asked(knowledge: Knowledge, query: str, limit: int) -> None:
    await knowledge.ingest()
    assert await knowledge.retrieve(turn(), query, limit) == []


async def test_rebuild_and_close(knowledge: Knowledge, index: MemoryIndex) -> None:
    await knowledge.ingest()
    held = dict(index.held)
    index.held = {"stale": next(iter(held.values()))}
    assert await knowledge.rebuild() == 2
    assert index.held == held
    await knowledge.close()
    assert index.closed
