"""Vector search over one bot's chunks: a Chroma collection that holds ids, vectors and audiences, no text."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError

from sartor_plugins.chroma.exact import Exact, unit

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from chromadb.api.models.Collection import Collection
    from numpy.typing import NDArray
    from sartor.values import BotInfo, Chunk

    from sartor_plugins.chroma.folders import TenantFolder

__all__ = ["Opened", "Vectors", "scrub"]

_BATCH = 1000

_SMALL = 300
"""Chunks up to which a collection is held in memory and searched exactly. Measured on a busy machine, with vectors of
2,048 numbers: a search of 300 took 3.3 ms, through Chroma's graph 5.5; of 1,000 there was nothing to gain, and loading
them took 0.4 s."""

_LOADED_PER_SEARCH = 20
"""Loading a chunk's vector takes up to 0.5 ms, and each search in memory spares 1 ms. So a collection is loaded when
it has been searched often enough since it was opened: one of up to 20 chunks at once, one of 300 the 15th time."""

_HEADER = struct.Struct("<iQQQQ")
"""How the file of a graph's header begins: version, offset, room, elements, and bytes of an element."""


@dataclass
class Opened:
    """A collection that was looked up in its tenant's open folder."""

    collection: Collection
    chunks: int | None = None
    """How many there are; None: not counted since it was changed."""
    searches: int = 0
    """How often its graph was searched since it was opened or loaded."""


class Vectors:
    """The collection of one bot. Blocks; made anew for each use.

    Chroma has the vectors on disk. Those of a collection of up to 300 chunks are held in memory too, 4 bytes a
    number (2.5 MB for 300 of the 2,048 numbers of `ngrams`), within the bound of `Held` for all tenants. Only the
    process that has the folder open can change the collection, and only through here, so both stay the same.
    """

    def __init__(self, folder: TenantFolder, bot: BotInfo, model: str) -> None:
        """`model` names the embeddings, so that vectors of different ones are never compared."""
        self._client = folder.client
        self._known = folder.collections
        self._held = folder.held
        self._bot = bot
        self._model = model
        self._name = f"bot-{bot.bot}"
        self._key = (folder.path, self._name)

    @staticmethod
    def held(folder: TenantFolder, bot: BotInfo) -> int | None:
        """How many vectors of the bot are held in memory; None where its collection is not."""
        held = folder.held.get((folder.path, f"bot-{bot.bot}"))
        return None if held is None else len(held)

    def add(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None:
        """Add or replace chunks. Raises `KnowledgeError` for vectors of other embeddings than those here."""
        import numpy as np

        if not chunks:
            return
        rows = np.asarray(vectors, dtype=np.float32)
        opened = self._find()
        if opened is None:
            opened = self._create(rows.shape[1])
            held: Exact | None = Exact([], [], rows[:0])
        else:
            self._check(opened.collection, rows.shape[1])
            held = self._held.pop(self._key)
        opened.chunks = None
        for at in range(0, len(chunks), _BATCH):
            part = slice(at, at + _BATCH)
            opened.collection.upsert(
                ids=[chunk.id for chunk in chunks[part]],
                embeddings=rows[part],
                metadatas=[{"audience": chunk.audience} for chunk in chunks[part]],
            )
        if held is not None and len(held) + len(chunks) <= _SMALL:
            self._held.put(self._key, held.having(chunks, rows))

    def remove(self, ids: Sequence[str]) -> None:
        opened = self._find()
        if opened is None or not ids:
            return
        held = self._held.pop(self._key)
        opened.chunks = None
        for at in range(0, len(ids), _BATCH):
            opened.collection.delete(ids=list(ids[at : at + _BATCH]))
        if held is not None:
            self._held.put(self._key, held.without(ids))

    def ids(self) -> frozenset[str]:
        opened = self._find()
        return frozenset(opened.collection.get(include=[])["ids"]) if opened is not None else frozenset()

    def clear(self) -> None:
        self._held.pop(self._key)
        if self._find() is not None:
            del self._known[self._name]
            self._client.delete_collection(self._name)

    def search(self, asked: NDArray[np.float32], limit: int, audience: str | None) -> Sequence[dict[str, float]]:
        """For each row of `asked` the cosine, 0 to 1, of the `limit` nearest chunks by id; `audience` None: all there
        are are everybody's."""
        opened = self._find()
        if opened is None:
            return [{} for _ in asked]
        self._check(opened.collection, asked.shape[1])
        held = self._held.get(self._key)
        if held is None:
            held = self._load(opened, asked[0].nbytes)
        return held.search(asked, limit, audience) if held is not None else _query(opened, asked, limit, audience)

    def _load(self, opened: Opened, size: int) -> Exact | None:
        """Hold the collection, whose vectors have `size` bytes, in memory from now on, if it is small and was searched
        often enough."""
        import numpy as np

        if opened.chunks is None:
            opened.chunks = opened.collection.count()
        opened.searches += 1
        most = min(_SMALL, opened.searches * _LOADED_PER_SEARCH, self._held.limit // size)
        if not 0 < opened.chunks <= most:
            return None
        opened.searches = 0
        got = opened.collection.get(include=["embeddings", "metadatas"])
        audiences = [str(one["audience"]) for one in got["metadatas"] or ()]
        held = Exact(got["ids"], audiences, unit(np.asarray(got["embeddings"], dtype=np.float32)))
        self._held.put(self._key, held)
        return held

    def _create(self, width: int) -> Opened:
        collection = self._client.create_collection(
            self._name,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "batch_size": 100, "sync_threshold": 100}},
            metadata={"embeddings": self._model, "width": width},
        )
        return self._known.setdefault(self._name, Opened(collection))

    def _find(self) -> Opened | None:
        from chromadb.errors import NotFoundError

        if self._name not in self._known:
            try:
                self._known[self._name] = Opened(self._client.get_collection(self._name, embedding_function=None))
            except NotFoundError:
                return None
        return self._known[self._name]

    def _check(self, collection: Collection, width: int) -> None:
        known = collection.metadata or {}
        if (known.get("embeddings"), known.get("width")) != (self._model, width):
            raise KnowledgeError(
                f"The index of {self._bot.id} was made with the embeddings {known.get('embeddings')} of width "
                f"{known.get('width')}, and not with {self._model} of width {width}",
                remedy=f"Make it anew: sartor ingest --rebuild {self._bot.id}",
            )


def _query(
    opened: Opened, vectors: NDArray[np.float32], limit: int, audience: str | None
) -> Sequence[dict[str, float]]:
    """As `Exact.search`, through Chroma's graph."""
    where = None if audience is None else {"audience": {"$in": ["", audience]}}
    found = opened.collection.query(
        query_embeddings=vectors,
        n_results=limit,
        where=where,  # type: ignore[arg-type]
        include=["distances"],
    )
    return [
        {id_: min(1.0, max(0.0, 1 - away)) for id_, away in zip(ids, distances, strict=True)}
        for ids, distances in zip(found["ids"], found["distances"] or [], strict=True)
    ]


def scrub(path: Path) -> None:
    """Overwrite with zeros what Chroma has written of this process's memory, in its database at `path`.

    Chroma 1.5 saves the room that its vector graph keeps for further elements as it got it from malloc, so
    that text of other tenants can end up in a file. To be called while the database is closed.
    """
    for header in path.glob("*/header.bin"):
        data = header.with_name("data_level0.bin")
        head = header.read_bytes()[: _HEADER.size]
        if len(head) < _HEADER.size or not data.exists():
            continue
        version, _, _, count, size = _HEADER.unpack(head)
        if version != 1:
            continue
        with data.open("r+b") as file:
            file.seek(count * size)
            rest = len(file.read().rstrip(b"\0"))
            file.seek(count * size)
            file.write(bytes(rest))
