"""The index of one bot: keywords and vectors, fused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sartor.names import check_name
from sartor.values import Hit

from sartor_plugins.chroma.faults import translated
from sartor_plugins.chroma.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray
    from sartor.values import BotInfo, Chunk

    from sartor_plugins.chroma.folders import TenantFolder, TenantFolders
    from sartor_plugins.chroma.settings import ChromaSettings

    Rows = Sequence[Sequence[float]] | NDArray[np.float32]

__all__ = ["ChromaIndex"]

_T = TypeVar("_T")

_SHARE_OF_BEFORE = 0.8
_FEW = 64
"""Chunks of a bot up to which it is searched in the caller's own thread."""
_CANDIDATES = 50
"""How many chunks each search proposes at least."""


class ChromaIndex:
    """An `sartor.retrieval.Index` in the folder ``index`` of the tenant's data. The constructor does no I/O."""

    def __init__(
        self, bot: BotInfo, embeddings: Embeddings | None, folders: TenantFolders, settings: ChromaSettings
    ) -> None:
        """`folders` is shared by all indexes of a process."""
        check_name("bot", bot.bot)
        self._bot = bot
        self._path = bot.data / "index"
        self._embeddings = embeddings
        self._model = _name(embeddings)
        self._folders = folders
        self._weights = (settings.keywords, settings.vectors)
        self._fair_cosine = settings.fair_cosine
        # One task at a time goes to a thread, so that a busy tenant cannot take all threads from the others.
        self._turn = asyncio.Lock()

    async def add(self, chunks: Sequence[Chunk]) -> None:
        """Raises `KnowledgeError` where the index was made with other embeddings, `BusyError` where another
        process has it open."""
        if not chunks:
            return
        vectors: Sequence[Sequence[float]] = ()
        if self._embeddings is not None:
            vectors = await self._embeddings.aembed_documents([f"{chunk.title}\n{chunk.text}" for chunk in chunks])

        def work(folder: TenantFolder) -> None:
            if self._embeddings is not None:
                self._vectors(folder).add(chunks, vectors)
            folder.keywords(self._bot.bot, self._bot.language).add(chunks)

        await self._run(work)

    async def remove(self, ids: Sequence[str]) -> None:
        def work(folder: TenantFolder) -> None:
            folder.keywords(self._bot.bot, self._bot.language).remove(ids)
            if self._embeddings is not None and folder.has_vectors:
                self._vectors(folder).remove(ids)

        if ids:
            await self._run(work)

    async def search(self, query: str, limit: int, audience: str = "", *, before: str = "") -> Sequence[Hit]:
        """In the order of both searches fused (`fuse`); the scores tell whether anything fits (`hits`)."""
        asked = [query, f"{before} {query}"] if before else [query]
        embed = self._embeddings if self._weights[1] > 0 else None
        vectors: list[list[float]] = []
        if embed is not None and not _in_process(embed):
            vectors = [await embed.aembed_query(text) for text in asked]

        def work(folder: TenantFolder) -> list[list[Hit]]:
            told = _embedded(embed, asked) if embed is not None and not vectors else vectors
            cosines = self._cosines(folder, told, len(asked), max(_CANDIDATES, 4 * limit), audience)
            return [self._one(folder, text, near, limit, audience) for text, near in zip(asked, cosines, strict=True)]

        light = embed is None or bool(vectors) or hasattr(embed, "embed_arrays")
        found = self._at_once(work) if light else None
        if found is None:
            found = await self._run(work)
        return found[0] if len(found) == 1 else _together(found[0], found[1], limit)

    def _cosines(
        self, folder: TenantFolder, vectors: Rows, count: int, wanted: int, audience: str
    ) -> list[dict[str, float] | None]:
        """The nearest chunks of each vector; None for each of `count` questions where no vectors can be compared."""
        import numpy as np

        asked = np.asarray(vectors, dtype=np.float32)
        if not len(asked) or not asked.any(axis=1).all() or not folder.has_vectors:
            return [None] * count
        narrowed = audience if folder.keywords(self._bot.bot, self._bot.language).has_audiences() else None
        return list(self._vectors(folder).search(asked, wanted, narrowed))

    def _one(
        self, folder: TenantFolder, query: str, cosines: dict[str, float] | None, limit: int, audience: str
    ) -> list[Hit]:
        keywords = folder.keywords(self._bot.bot, self._bot.language)
        wanted = max(_CANDIDATES, 4 * limit)
        scores = keywords.search(query, wanted, audience) if self._weights[0] > 0 else {}
        ranked = fuse(scores, cosines or {}, self._weights)[:limit]
        coverage = keywords.coverage(query, [id_ for id_, _ in ranked])
        return hits(ranked, coverage, cosines, self._fair_cosine)

    async def ids(self) -> frozenset[str]:
        """A chunk that only one of the two searches knows is forgotten, so that it will be added anew."""

        def work(folder: TenantFolder) -> frozenset[str]:
            keywords = folder.keywords(self._bot.bot, self._bot.language)
            known = keywords.ids()
            if self._embeddings is None:
                keywords.tidy()
                return known
            vectors = self._vectors(folder)
            embedded = vectors.ids() if folder.has_vectors else frozenset()
            keywords.remove(sorted(known - embedded))
            keywords.tidy()
            if embedded - known:
                vectors.remove(sorted(embedded - known))
            return known & embedded

        return await self._run(work)

    async def clear(self) -> None:
        def work(folder: TenantFolder) -> None:
            folder.keywords(self._bot.bot, self._bot.language).clear()
            if folder.has_vectors:
                self._vectors(folder).clear()

        await self._run(work)

    async def close(self) -> None:
        """Close the tenant's folder; other bots of the tenant open it again when they need it."""
        await asyncio.to_thread(self._folders.close, self._path)

    def _vectors(self, folder: TenantFolder) -> Vectors:
        return Vectors(folder, self._bot, self._model)

    def _at_once(self, work: Callable[[TenantFolder], _T]) -> _T | None:
        """`work` in this thread, if nobody uses the tenant's folder and the bot's vectors are few and held in memory:
        to search them takes about as long as to change threads. None where it is not so."""
        if self._turn.locked():
            return None
        with self._folders.use_if_free(self._path) as folder:
            if folder is None or not 0 < (Vectors.held(folder, self._bot) or 0) <= _FEW:
                return None
            with translated(self._path, self._bot.id):
                return work(folder)

    async def _run(self, work: Callable[[TenantFolder], _T]) -> _T:
        """`work` in a thread, alone in the tenant's folder. Raises `SartorError` only, for what is not a bug."""

        def alone() -> _T:
            with translated(self._path, self._bot.id), self._folders.use(self._path) as folder:
                return work(folder)

        async with self._turn:
            return await asyncio.to_thread(alone)


def _embedded(embeddings: Embeddings, texts: Sequence[str]) -> Rows:
    """The questions embedded: as the rows of an array, by embeddings that can (`embed_arrays`), or else as lists."""
    at_once: Callable[[Sequence[str]], Rows] | None = getattr(embeddings, "embed_arrays", None)
    return at_once(texts) if at_once is not None else [embeddings.embed_query(text) for text in texts]


def _in_process(embeddings: Embeddings) -> bool:
    """Whether the embeddings only compute: then they run in the search's own thread."""
    from langchain_core.embeddings import Embeddings

    return type(embeddings).aembed_query is Embeddings.aembed_query


def _together(alone: Sequence[Hit], in_context: Sequence[Hit], limit: int) -> list[Hit]:
    """The hits of a question alone and together with what was said before it, which count somewhat less."""
    best = {hit.chunk: hit for hit in alone}
    for hit in in_context:
        less = Hit(hit.chunk, _SHARE_OF_BEFORE * hit.score, hit.parts)
        if hit.chunk not in best or best[hit.chunk].score < less.score:
            best[hit.chunk] = less
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.chunk))[:limit]


def fuse(
    scores: Mapping[str, float], cosines: Mapping[str, float], weights: tuple[float, float]
) -> list[tuple[str, float]]:
    """The ids that both searches found and their fused scores, the best first.

    Each search's scores are divided by their maximum, weighted and added.
    """
    best_score = max(scores.values(), default=0.0) or 1.0
    best_cosine = max(cosines.values(), default=0.0) or 1.0
    fused = {
        id_: weights[0] * scores.get(id_, 0.0) / best_score + weights[1] * cosines.get(id_, 0.0) / best_cosine
        for id_ in scores.keys() | cosines.keys()
    }
    return sorted(((id_, score) for id_, score in fused.items() if score > 0), key=lambda one: (-one[1], one[0]))


def hits(
    ranked: Sequence[tuple[str, float]],
    coverage: Mapping[str, float],
    cosines: Mapping[str, float] | None,
    fair_cosine: float,
) -> list[Hit]:
    """What was found, with scores that tell whether anything fits at all.

    A fused score is relative to the best one of its question, however bad. So the best hit's score is how
    likely one of the first three fits, from two measures that mean the same in every collection: the cosine,
    and the part of the question's information that the chunk's words cover. The others have their share of
    it by their fused scores. `benchmarks/retrieval.py` shows what becomes of questions without an answer.
    """
    near = cosines or {}
    sure = max(
        (_fits(coverage[id_], near.get(id_, 0.0) if cosines else None, fair_cosine) for id_, _ in ranked[:3]),
        default=0.0,
    )
    return [
        Hit(id_, sure * score / ranked[0][1], {"keywords": coverage[id_], "vectors": near.get(id_, 0.0)})
        for id_, score in ranked
    ]


def _fits(coverage: float, cosine: float | None, fair_cosine: float) -> float:
    """How likely a chunk has to do with the question: 0.5 where as many do as do not.

    A logistic curve over `coverage` and `cosine` (None where there are no vectors). Its constants were fitted
    to 5 public sets of questions, cut to 8 to 100 documents, against questions about something else.
    """
    evidence = 5.7 * (coverage - 0.4) if cosine is None else 16 * (cosine - fair_cosine) + 2.7 * (coverage - 0.4)
    return 1 / (1 + math.exp(-evidence))


def _name(embeddings: Embeddings | None) -> str:
    """A name that tells embeddings apart: their class, and the model if they tell it."""
    kind = type(embeddings)
    model = getattr(embeddings, "model", None) or getattr(embeddings, "model_name", None) or ""
    return f"{kind.__module__}.{kind.__qualname__}" + (f":{model}" if isinstance(model, str) and model else "")
