"""Vector search over one bot's chunks: a Chroma collection that holds ids, vectors and audiences, no text."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError

if TYPE_CHECKING:
    from pathlib import Path

    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection
    from sartor.values import BotInfo, Chunk

__all__ = ["Vectors", "scrub"]

_BATCH = 1000

_HEADER = struct.Struct("<iQQQQ")
"""How the file of a graph's header begins: version, offset, room, elements, and bytes of an element."""


class Vectors:
    """The collection of one bot. Blocks; made anew for each use."""

    def __init__(self, client: ClientAPI, known: dict[str, Collection], bot: BotInfo, model: str) -> None:
        """`known` are the client's collections that were looked up already, by name; `model` names the embeddings,
        so that vectors of different ones are never compared."""
        self._client = client
        self._known = known
        self._bot = bot
        self._model = model
        self._name = f"bot-{bot.bot}"

    def add(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None:
        """Add or replace chunks. Raises `KnowledgeError` for vectors of other embeddings than those here."""
        import numpy as np

        if not chunks:
            return
        collection = self._find() or self._client.create_collection(
            self._name,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "batch_size": 100, "sync_threshold": 100}},
            metadata={"embeddings": self._model, "width": len(vectors[0])},
        )
        self._check(collection, len(vectors[0]))
        for at in range(0, len(chunks), _BATCH):
            part = slice(at, at + _BATCH)
            collection.upsert(
                ids=[chunk.id for chunk in chunks[part]],
                embeddings=np.asarray(vectors[part], dtype=np.float32),
                metadatas=[{"audience": chunk.audience} for chunk in chunks[part]],
            )

    def remove(self, ids: Sequence[str]) -> None:
        collection = self._find()
        if collection is not None:
            for at in range(0, len(ids), _BATCH):
                collection.delete(ids=list(ids[at : at + _BATCH]))

    def ids(self) -> frozenset[str]:
        collection = self._find()
        return frozenset(collection.get(include=[])["ids"]) if collection is not None else frozenset()

    def clear(self) -> None:
        if self._find() is not None:
            del self._known[self._name]
            self._client.delete_collection(self._name)

    def search(
        self, vectors: Sequence[Sequence[float]], limit: int, audience: str | None
    ) -> Sequence[dict[str, float]]:
        """For each vector the cosine, 0 to 1, of the `limit` nearest chunks by id; `audience` None: all there are
        are everybody's."""
        import numpy as np

        collection = self._find()
        if collection is None:
            return [{} for _ in vectors]
        self._check(collection, len(vectors[0]))
        where = None if audience is None else {"audience": {"$in": ["", audience]}}
        found = collection.query(
            query_embeddings=np.asarray(vectors, dtype=np.float32),
            n_results=limit,
            where=where,  # type: ignore[arg-type]
            include=["distances"],
        )
        return [
            {id_: min(1.0, max(0.0, 1 - away)) for id_, away in zip(ids, distances, strict=True)}
            for ids, distances in zip(found["ids"], found["distances"] or [], strict=True)
        ]

    def _find(self) -> Collection | None:
        from chromadb.errors import NotFoundError

        if self._name not in self._known:
            try:
                self._known[self._name] = self._client.get_collection(self._name, embedding_function=None)
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
