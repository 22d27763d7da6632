"""Vectors held in memory: the same answers as Chroma's graph, in step with it, bounded, and nobody else's."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sartor.retrieval import Index
from sartor.values import BotInfo, Chunk, Hit
from sartor_plugins.chroma import ChromaPlugin, ChromaSettings
from sartor_plugins.chroma.exact import Exact, Held, unit
from sartor_plugins.chroma.keywords import Keywords
from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings

pytest.importorskip("chromadb")
pytest.importorskip("filelock")

_TEXT = "parcel delivery return refund lamp battery warranty invoice shop Lyon Sunday price colour bulb cable"
WORDS = _TEXT.split()
QUESTIONS = ("When does my parcel arrive?", "Refunds for a broken lamp", "price of a battery cable", "warranty in Lyon")


def bot(tmp_path: Path, tenant: str = "acme", name: str = "support") -> BotInfo:
    return BotInfo(tenant, name, tmp_path / "project" / tenant / name, tmp_path / "data" / tenant, "en")


def chunks(info: BotInfo, number: int, seed: int = 0) -> list[Chunk]:
    """Chunks of random words; every fifth is for an audience."""
    rng = random.Random(seed)
    return [
        Chunk(f"{info.tenant}-{seed}-{at}", info.tenant, info.bot, "a.md", "", " ".join(rng.choices(WORDS, k=12)), at)
        if at % 5
        else Chunk(f"{info.tenant}-{seed}-{at}", info.tenant, info.bot, "a.md", "", f"lamp {at}", at, "business")
        for at in range(number)
    ]


def made(tmp_path: Path, info: BotInfo, memory: int) -> Index:
    embeddings = NgramsPlugin(NgramsSettings(width=512), Path()).sartor_embeddings()
    return ChromaPlugin(ChromaSettings(memory=memory), tmp_path).sartor_index(info, embeddings)


@pytest.fixture
def graph_searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each search that goes through Chroma's graph."""
    from sartor_plugins.chroma import vectors

    seen: list[int] = []
    query = vectors._query

    def counted(*given: object) -> object:
        seen.append(1)
        return query(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(vectors, "_query", counted)
    return seen


def told(hits: list[Hit]) -> list[tuple[str, float, float]]:
    return [(hit.chunk, round(hit.score, 3), round(hit.parts["vectors"], 3)) for hit in hits]


async def answers(index: Index) -> list[list[tuple[str, float, float]]]:
    return [
        told(list(await index.search(question, 10, audience, before=before)))
        for question in QUESTIONS
        for audience in ("", "business")
        for before in ("", "And what of the bulb?")
    ]


async def test_memory_and_graph_give_the_same_answers(tmp_path: Path, graph_searches: list[int]) -> None:
    infos = bot(tmp_path / "graph"), bot(tmp_path / "memory")
    graph, memory = made(tmp_path, infos[0], 0), made(tmp_path, infos[1], 10)
    for index, info in zip((graph, memory), infos, strict=True):
        await index.add(chunks(info, 120))
    in_memory = await answers(memory)
    assert not graph_searches
    assert in_memory == await answers(graph)
    assert len(graph_searches) == 16

    for index in (graph, memory):
        await index.clear()
        assert await index.search("warranty in Lyon", 10) == []
        await index.close()


async def test_it_stays_in_step_with_what_is_stored(tmp_path: Path, graph_searches: list[int]) -> None:
    info = bot(tmp_path)
    index = made(tmp_path, info, 10)
    await index.add(chunks(info, 120))
    await index.search("lamp", 3)
    await index.remove([chunk.id for chunk in chunks(info, 90)])
    await index.add(chunks(info, 30, seed=1))
    (_, old, *_) = chunks(info, 2, seed=1)
    new = replace(old, text="A parcel of cables, which are the colour of a bulb")
    await index.add([new])
    in_step = await answers(index)
    await index.close()

    afresh = made(tmp_path, bot(tmp_path / "afresh"), 10)
    left = [*chunks(info, 120)[90:], *chunks(info, 30, seed=1)]
    await afresh.add([new if chunk.id == new.id else chunk for chunk in left])
    assert in_step == await answers(afresh)
    await afresh.close()
    for _ in range(3):
        await index.search("lamp", 3)  # until it is loaded from the disk
    assert in_step == await answers(index)
    assert len(graph_searches) == 2
    await index.close()


async def test_it_is_loaded_when_it_was_searched_often_enough(tmp_path: Path, graph_searches: list[int]) -> None:
    info = bot(tmp_path)
    index = made(tmp_path, info, 10)
    await index.add(chunks(info, 50))
    first = await answers(index)
    await index.close()  # forgets what it held
    assert await answers(index) == first
    assert len(graph_searches) == 2
    await index.close()

    small = bot(tmp_path, name="small")
    index = made(tmp_path, small, 10)
    await index.add(chunks(small, 20))
    await index.close()
    await index.search("lamp", 3)
    assert len(graph_searches) == 2
    await index.close()


async def test_a_large_collection_is_left_to_the_graph(
    tmp_path: Path, graph_searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sartor_plugins.chroma.vectors._SMALL", 30)
    info = bot(tmp_path)
    index = made(tmp_path, info, 10)
    await index.add(chunks(info, 30))
    await index.search("lamp", 3)
    assert not graph_searches
    await index.add(chunks(info, 1, seed=1))
    for _ in range(5):
        await index.search("lamp", 3)
    assert len(graph_searches) == 5
    await index.remove([chunks(info, 1, seed=1)[0].id])
    await index.search("lamp", 3)  # small again, and searched often enough
    assert len(graph_searches) == 5
    await index.close()


async def test_bots_of_one_name_and_of_one_tenant_stay_apart_in_memory(tmp_path: Path) -> None:
    embeddings = NgramsPlugin(NgramsSettings(width=512), Path()).sartor_embeddings()
    plugin = ChromaPlugin(ChromaSettings(), tmp_path)
    infos = [bot(tmp_path), bot(tmp_path, "other"), bot(tmp_path, name="sales")]
    indexes = [plugin.sartor_index(info, embeddings) for info in infos]
    for at, (info, index) in enumerate(zip(infos, indexes, strict=True)):
        await index.add(chunks(info, 12, seed=at))
    for at, (info, index) in enumerate(zip(infos, indexes, strict=True)):
        own = {chunk.id for chunk in chunks(info, 12, seed=at)}
        assert {hit.chunk for hit in await index.search("lamp", 20, "business")} <= own
    await indexes[0].clear()
    assert await indexes[0].search("lamp", 20, "business") == []
    assert await indexes[1].search("lamp", 20, "business")
    assert await indexes[2].search("lamp", 20, "business")
    for index in indexes:
        await index.close()


def test_held_is_bounded_and_forgets_whole_folders() -> None:
    def some(rows: int) -> Exact:
        return Exact([str(at) for at in range(rows)], [""] * rows, np.ones((rows, 4), dtype=np.float32))

    held = Held(100)
    acme, other = (Path("acme"), "bot-a"), (Path("other"), "bot-a")
    held.put(acme, some(3))
    held.put(other, some(3))
    assert held.get(acme)
    held.put((Path("acme"), "bot-b"), some(2))
    assert held.get(other) is None  # searched longest ago
    assert held.get(acme)
    held.put(other, some(7))
    assert held.get(other) is None  # too large
    assert held.pop(acme) is None  # and made room in vain
    held.put(acme, some(3))
    held.put(other, some(3))
    held.forget(Path("acme"))
    assert held.get(acme) is None
    assert held.get(other)


def test_exact_cosines_audiences_and_vectors_without_length() -> None:
    rows = unit(np.array([[3, 0], [1, 1], [0, 0], [-1, 0]], dtype=np.float32))
    exact = Exact(["a", "b", "zero", "far"], ["", "business", "", ""], rows)
    asked = np.array([[2, 0], [0, 1]], dtype=np.float32)
    first, second = exact.search(asked, 2, None)
    assert list(first) == ["a", "b"]
    assert first == pytest.approx({"a": 1.0, "b": 0.5**0.5})
    assert list(second) == ["b", "a"]
    assert exact.search(asked, 9, "")[0] == {"a": 1.0, "zero": 0.0, "far": 0.0}
    assert list(exact.search(asked, 9, "business")[0]) == ["a", "b", "zero", "far"]
    assert exact.without(["unknown"]) is exact
    assert list(exact.without(["a"]).search(asked, 1, None)[0]) == ["b"]
    assert Exact([], [], rows[:0]).search(asked, 3, "") == [{}, {}]


def test_words_are_looked_up_again_after_a_change_by_another_connection(tmp_path: Path) -> None:
    info = bot(tmp_path)
    first, second = Keywords(tmp_path / "words", "en"), Keywords(tmp_path / "words", "en")
    first.add(chunks(info, 10))
    asked = "warranty xylophone"
    assert "new" not in first.search(asked, 20, "")
    second.add([Chunk("new", "acme", "support", "a.md", "", "xylophone", 0, "gold")])
    assert first.has_audiences()
    assert first.search(asked, 20, "gold")["new"] > 0
    assert first.coverage(asked, ["new"])["new"] > 0.5
    second.remove(["new"])
    assert "new" not in first.search(asked, 20, "gold")
    first.close()
    second.close()


def test_remembered_words_find_what_a_search_of_the_file_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = bot(tmp_path)
    keywords = Keywords(tmp_path / "words", "en")
    keywords.add(chunks(info, 40))
    keywords.add([Chunk("gold", "acme", "support", "a.md", "Delivery", "delivery by deliverers", 0, "gold")])
    asked = [(question, limit, audience) for question in QUESTIONS for limit in (3, 50) for audience in ("", "gold")]
    asked.append(("delivery delivers", 50, "gold"))
    remembered = [keywords.search(*one) for one in asked]
    assert "gold" in remembered[-1]
    monkeypatch.setattr("sartor_plugins.chroma.keywords._LISTED", 0)
    monkeypatch.setattr("sartor_plugins.chroma.keywords._REMEMBERED", -1)
    assert [keywords.search(*one) for one in asked] == remembered
    keywords.close()


def test_common_words_are_covered_like_rare_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = bot(tmp_path)
    keywords = Keywords(tmp_path / "words", "en")
    keywords.add(chunks(info, 40))
    ids = [chunk.id for chunk in chunks(info, 40)]
    listed = [keywords.coverage(question, ids) for question in QUESTIONS]
    monkeypatch.setattr("sartor_plugins.chroma.keywords._LISTED", 0)
    monkeypatch.setattr("sartor_plugins.chroma.keywords._REMEMBERED", -1)  # nothing is remembered for long
    assert [keywords.coverage(question, ids) for question in QUESTIONS] == listed
    keywords.close()
