"""The embedded index: finds, forgets, tells when nothing fits, and keeps tenants apart."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sartor.errors import BusyError, KnowledgeError, NamingError, PluginError, StoreError
from sartor.knowledge import Knowledge
from sartor.retrieval import Index
from sartor.values import BotInfo, Chunk, Turn
from sartor_plugins.chroma import ChromaPlugin, ChromaSettings
from sartor_plugins.documents import DocumentsPlugin, DocumentsSettings
from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings

pytest.importorskip("chromadb")
pytest.importorskip("filelock")

TEXTS = (
    ("Delivery", "We bring every parcel within three working days."),
    ("Returns", "You may send back an article within thirty days of buying it."),
    ("Warranty", "Batteries are guaranteed for two years after the purchase."),
    ("Opening hours", "The shop in Lyon is open from nine to six, except on Sunday."),
)


def bot(tmp_path: Path, tenant: str = "acme", name: str = "support", language: str = "en") -> BotInfo:
    return BotInfo(tenant, name, tmp_path / "project" / tenant / name, tmp_path / "data" / tenant, language)


def chunks(info: BotInfo, *texts: tuple[str, str], audience: str = "") -> list[Chunk]:
    return [
        Chunk(f"{info.bot}-{title}", info.tenant, info.bot, "a.md", title, text, number, audience)
        for number, (title, text) in enumerate(texts)
    ]


@pytest.fixture
def plugin(tmp_path: Path) -> ChromaPlugin:
    return ChromaPlugin(ChromaSettings(open_tenants=2), tmp_path)


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def open_files(folder: Path) -> list[Path]:
    """The files below `folder` that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(Path(os.readlink(link)))
    return [path for path in found if path.is_relative_to(folder)]


async def all_closed(folder: Path, *but: str) -> bool:
    """Whether no file below `folder` is open soon, but those of the tenants `but`: Chroma takes its time to close."""
    for _ in range(200):
        left = {path.relative_to(folder / "data").parts[0] for path in open_files(folder)}
        if left == set(but):
            return True
        await asyncio.sleep(0.05)
    return False


def embeddings(width: int = 512) -> object:
    return NgramsPlugin(NgramsSettings(width=width), Path()).sartor_embeddings()


@pytest.fixture(params=["both", "keywords"])
async def index(request: pytest.FixtureRequest, plugin: ChromaPlugin, tmp_path: Path) -> AsyncIterator[Index]:
    info = bot(tmp_path)
    made = plugin.sartor_index(info, embeddings() if request.param == "both" else None)
    await made.add(chunks(info, *TEXTS))
    yield made
    await made.close()


async def test_the_fitting_chunk_comes_first(index: Index) -> None:
    for query, title in (("When will my parcel arrive?", "Delivery"), ("battery guarantee", "Warranty")):
        hits = await index.search(query, 3)
        assert hits[0].chunk == f"support-{title}"
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(0 <= hit.score <= 1 and set(hit.parts) == {"keywords", "vectors"} for hit in hits)


async def test_the_score_tells_when_nothing_fits(index: Index) -> None:
    (fits,) = await index.search("How long are batteries guaranteed?", 1)
    strange = await index.search("Who won the football championship?", 1)
    assert fits.score > 0.5
    assert not strange or strange[0].score < 0.25


@pytest.mark.parametrize("query", ["", "?!", '"', "NEAR(", "a* OR -b AND", "title:x", "\0", "'; DROP TABLE chunk; --"])
async def test_no_query_is_an_error(index: Index, query: str) -> None:
    await index.search(query, 3)
    assert len(await index.ids()) == 4


async def test_adding_twice_replaces_and_removing_forgets(index: Index, tmp_path: Path) -> None:
    (changed,) = chunks(bot(tmp_path), ("Delivery", "We use bicycles."))
    await index.add([changed])
    assert len(await index.ids()) == 4
    assert (await index.search("bicycles", 1))[0].chunk == "support-Delivery"
    assert all(
        hit.chunk != "support-Delivery" or hit.score < 0.4 for hit in await index.search("parcel within three", 4)
    )
    await index.remove(["support-Delivery", "unknown"])
    assert "support-Delivery" not in await index.ids()
    assert all(hit.chunk != "support-Delivery" for hit in await index.search("bicycles", 4))


async def test_closed_opens_again_and_clear_forgets(index: Index) -> None:
    await index.close()
    assert len(await index.ids()) == 4
    await index.clear()
    assert await index.ids() == frozenset()
    assert await index.search("parcel", 3) == []


async def test_audiences(index: Index, tmp_path: Path) -> None:
    await index.add(chunks(bot(tmp_path), ("Business", "Companies get parcels for free."), audience="business"))
    assert "support-Business" not in {hit.chunk for hit in await index.search("parcels companies free", 5)}
    assert "support-Business" not in {hit.chunk for hit in await index.search("parcels companies free", 5, "person")}
    assert (await index.search("parcels companies free", 5, "business"))[0].chunk == "support-Business"


async def test_a_chunk_of_one_half_is_forgotten_to_be_added_anew(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path)
    words = plugin.sartor_index(info, None)
    await words.add(chunks(info, *TEXTS))
    both = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    assert (await both.search("parcel", 1))[0].parts["vectors"] == 0
    assert await both.ids() == frozenset()
    await both.add(chunks(info, *TEXTS))
    assert len(await both.ids()) == 4
    await words.remove(["support-Delivery"])
    assert len(await both.ids()) == 3
    assert "support-Delivery" not in {hit.chunk for hit in await both.search("parcel delivery", 4)}
    await both.close()


async def test_tenants_and_bots_never_see_each_other(plugin: ChromaPlugin, tmp_path: Path) -> None:
    marker = "xylophone-4711"
    infos = [bot(tmp_path, "acme"), bot(tmp_path, "other"), bot(tmp_path, "acme", "sales")]
    indexes = [plugin.sartor_index(info, embeddings()) for info in infos]  # type: ignore[arg-type]
    await indexes[0].add([*chunks(infos[0], *TEXTS), *chunks(infos[0], ("Secret", f"The code is {marker}."))])
    for foreign, info in zip(indexes[1:], infos[1:], strict=True):
        assert await foreign.search(marker, 10) == []
        await foreign.add(chunks(info, TEXTS[0]))
        assert {hit.chunk for hit in await foreign.search(f"{marker} code secret", 10)} <= {f"{info.bot}-Delivery"}
        await foreign.remove(["support-Secret"])
        assert "support-Secret" not in await foreign.ids()
    assert (await indexes[0].search(marker, 1))[0].chunk == "support-Secret"
    for one in indexes:
        await one.close()
    assert files_with(tmp_path / "data/other", b"parcel")
    assert not files_with(tmp_path / "data/other", marker[:9].encode())


async def test_folders_are_private_bounded_and_removable(plugin: ChromaPlugin, tmp_path: Path) -> None:
    tenants = [f"tenant-{number}" for number in range(6)]
    infos = [bot(tmp_path, tenant) for tenant in tenants]
    indexes = [plugin.sartor_index(info, embeddings()) for info in infos]  # type: ignore[arg-type]
    for info, one in zip(infos, indexes, strict=True):
        await one.add(chunks(info, *TEXTS))
    assert stat.S_IMODE((infos[0].data / "index").stat().st_mode) == 0o700
    for _ in range(3):
        for one in indexes:
            assert len(await one.search("parcel", 1)) == 1
    assert await all_closed(tmp_path, *tenants[-2:])
    for one in indexes:
        await one.close()
    assert await all_closed(tmp_path)


async def test_folders_are_used_and_closed_at_the_same_time(plugin: ChromaPlugin, tmp_path: Path) -> None:
    infos = [bot(tmp_path, f"tenant-{number}", name) for number in range(3) for name in ("support", "sales")]
    indexes = [plugin.sartor_index(info, embeddings()) for info in infos]  # type: ignore[arg-type]
    for info, one in zip(infos, indexes, strict=True):
        await one.add(chunks(info, *TEXTS))

    async def ask(index: Index, number: int) -> int:
        if number % 5 == 4:
            await index.close()
        return len(await index.search("parcel", 1))

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(ask(one, number) for one in indexes for number in range(10)))
    assert found == [1] * 60
    for one in indexes:
        await one.close()
    assert await all_closed(tmp_path)


async def test_another_process_is_kept_out(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path)
    (info.data / "index").mkdir(parents=True)
    code = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", code, str(info.data / "index/lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        index = plugin.sartor_index(info, None)
        with pytest.raises(BusyError, match="Another process") as caught:
            await index.search("parcel", 1)
        assert caught.value.where == str(info.data / "index")
        process.communicate()
    assert await index.search("parcel", 1) == []
    await index.close()


async def test_other_embeddings_are_refused_until_rebuilt(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path)
    first = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    await first.add(chunks(info, *TEXTS))
    wider = plugin.sartor_index(info, embeddings(1024))  # type: ignore[arg-type]
    for call in (wider.search("parcel", 1), wider.add(chunks(info, *TEXTS))):
        with pytest.raises(KnowledgeError, match="ngrams-1-512") as caught:
            await call
        assert caught.value.remedy == "Make it anew: sartor ingest --rebuild acme/support"
    await wider.clear()
    await wider.add(chunks(info, *TEXTS))
    assert (await wider.search("parcel", 1))[0].chunk == "support-Delivery"
    await wider.close()


async def test_removed_words_leave_the_disk(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path)
    index = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    await index.add([*chunks(info, *TEXTS), *chunks(info, ("Secret", "The code is xylophone."))])
    await index.remove(["support-Secret"])
    await index.ids()
    await index.close()
    assert not files_with(info.data, b"xylophone")
    await index.clear()
    await index.close()
    assert not files_with(info.data, b"guaranteed")
    shutil.rmtree(info.data)
    assert await index.search("parcel", 1) == []
    await index.close()


async def test_chroma_leaves_no_memory_of_this_process(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path)
    index = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    await index.add(chunks(info, *TEXTS))
    await index.close()
    (data,) = (info.data / "index/vectors").glob("*/data_level0.bin")
    data.write_bytes(b"a secret of another tenant" + data.read_bytes()[26:])
    assert (await index.search("parcel", 1))[0].chunk == "support-Delivery"
    await index.close()
    assert not files_with(info.data, b"a secret of another tenant")
    assert len(await index.ids()) == 4
    await index.close()


async def test_french_accents_and_inflection(plugin: ChromaPlugin, tmp_path: Path) -> None:
    info = bot(tmp_path, language="fr")
    index = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    texts = (
        ("Livraison", "Les colis sont livrés à l'étranger."),
        ("Retours", "Vous êtes remboursés après trente jours."),
    )
    await index.add(chunks(info, *texts))
    assert (await index.search("livraison a l etranger", 1))[0].chunk == "support-Livraison"
    assert (await index.search("remboursement ?", 1))[0].chunk == "support-Retours"
    await index.close()


def test_building_an_index_does_no_input_or_output(plugin: ChromaPlugin, tmp_path: Path) -> None:
    plugin.sartor_index(bot(tmp_path), None)
    assert not (tmp_path / "data").exists()
    with pytest.raises(NamingError):
        plugin.sartor_index(bot(tmp_path, name="../other"), None)


async def test_a_missing_package_is_named(
    plugin: ChromaPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chromadb", None)
    info = bot(tmp_path)
    index = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="chromadb") as caught:
        await index.add(chunks(info, *TEXTS))
    assert caught.value.remedy == "pip install 'sartor[knowledge]'"
    await index.close()


async def test_faults_get_a_remedy(plugin: ChromaPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = bot(tmp_path)
    index = plugin.sartor_index(info, None)
    await index.add(chunks(info, *TEXTS))
    await index.close()
    (info.data / "index/support.words.sqlite3").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(KnowledgeError, match="cannot be used") as caught:
        await index.search("parcel", 1)
    assert str(caught.value.remedy).endswith("sartor ingest --rebuild acme/support")
    await index.close()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    other = bot(tmp_path, "other")
    monkeypatch.setattr("sartor_plugins.chroma.keywords.Keywords.add", full)
    index = plugin.sartor_index(other, None)
    with pytest.raises(StoreError, match="no room left"):
        await index.add(chunks(other, *TEXTS))
    await index.close()

    blocked = bot(tmp_path, "blocked")
    blocked.data.write_text("a file where a folder should be")
    with pytest.raises(KnowledgeError, match="cannot be opened"):
        await plugin.sartor_index(blocked, None).search("parcel", 1)


async def test_from_files_to_passages(plugin: ChromaPlugin, tmp_path: Path) -> None:
    from sartor.store import Store

    info = bot(tmp_path)
    folder = info.directory / "knowledge"
    folder.mkdir(parents=True)
    (folder / "shop.md").write_text(
        "# Shop\n\n## Delivery\n\nParcels arrive in three days.\n\n## Returns\n\nSend it back.\n"
    )
    (folder / "prices.csv").write_text("article,price\nBlue lamp,30 euros\n")
    readers = DocumentsPlugin(DocumentsSettings(), tmp_path).sartor_readers()
    async with await Store.open(f"sqlite:///{tmp_path}/state.db") as store:
        index = plugin.sartor_index(info, embeddings())  # type: ignore[arg-type]
        knowledge = Knowledge(info, store.tenant("acme"), index, readers)
        report = await knowledge.ingest()
        assert (report.added, report.skipped, report.chunks) == (("prices.csv", "shop.md"), {}, 3)
        turn = Turn("t", "c", "acme", "support", "ann", "?")
        first = (await knowledge.retrieve(turn, "When do parcels arrive?", 2))[0]
        assert (first.source, first.title, first.text) == (
            "shop.md",
            "Shop › Delivery",
            "Parcels arrive in three days.",
        )
        assert (await knowledge.retrieve(turn, "price of the blue lamp", 1))[0].source == "prices.csv"
        async with await Store.open(f"sqlite:///{tmp_path}/state.db") as another_process:
            await another_process.tenant("acme").remove_document("support", "shop.md")
        assert "shop.md" not in {one.source for one in await knowledge.retrieve(turn, "When do parcels arrive?", 2)}
        assert (await knowledge.ingest()).added == ("shop.md",)
        await index.remove([first.id])
        report = await knowledge.ingest()
        assert (report.unchanged, report.mended) == (("prices.csv", "shop.md"), 1)
        (folder / "prices.csv").unlink()
        assert (await knowledge.ingest()).removed == ("prices.csv",)
        assert await knowledge.rebuild() == 2
        await knowledge.erase()
        assert await knowledge.retrieve(turn, "When do parcels arrive?", 2) == []
        await knowledge.close()


def test_settings() -> None:
    with pytest.raises(ValueError, match="cannot both be 0"):
        ChromaSettings(keywords=0, vectors=0)


async def test_few_chunks_are_searched_without_a_thread_when_nobody_uses_the_folder(
    plugin: ChromaPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = bot(tmp_path)
    index = plugin.sartor_index(info, embeddings())
    await index.add(chunks(info, ("Lamps", "A lamp costs ten euros."), ("Chairs", "A chair costs twenty euros.")))
    first = await index.search("What does a lamp cost?", 2)
    hops: list[object] = []

    async def hop(work: Callable[..., object], *told: object) -> object:
        hops.append(work)
        return await asyncio.get_running_loop().run_in_executor(None, work, *told)

    monkeypatch.setattr(asyncio, "to_thread", hop)
    assert [hit.chunk for hit in await index.search("What does a lamp cost?", 2)] == [hit.chunk for hit in first]
    assert not hops
    with index._folders.use(info.data / "index"):  # somebody else does
        waiting = asyncio.create_task(index.search("What does a lamp cost?", 2))
        await asyncio.sleep(0.05)
        assert hops and not waiting.done()
    assert [hit.chunk for hit in await waiting] == [hit.chunk for hit in first]
    await index.close()
