"""Documents and their chunks, as work inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, bindparam, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError

from sartor.errors import KnowledgeError
from sartor.store.prepared import Prepared
from sartor.store.rows import DocumentRow
from sartor.store.schema import chunks, documents
from sartor.store.tenants import insert_or_update, know_tenant
from sartor.values import Chunk

__all__ = ["FEW", "all_chunks", "chunks_by_id", "chunks_of", "documents_of", "put_document", "remove_document"]

_CHUNK = (
    chunks.c.id,
    chunks.c.tenant,
    chunks.c.bot,
    chunks.c.source,
    chunks.c.title,
    chunks.c.text,
    chunks.c.position,
    chunks.c.audience,
)
_OF_BOT = (chunks.c.tenant == bindparam("of_tenant"), chunks.c.bot == bindparam("of_bot"))
_OF_DOCUMENT = (*_OF_BOT, chunks.c.document == bindparam("of_document"))
_THE_DOCUMENT = (
    documents.c.tenant == bindparam("of_tenant"),
    documents.c.bot == bindparam("of_bot"),
    documents.c.source == bindparam("of_document"),
)

_DOCUMENTS = (
    select(documents.c.source, documents.c.sha256, documents.c.title, documents.c.chunks, documents.c.ingested)
    .where(*_THE_DOCUMENT[:2])
    .order_by(documents.c.source)
)
_DOCUMENTS_FOR = _DOCUMENTS.where(
    exists().where(
        chunks.c.tenant == documents.c.tenant,
        chunks.c.bot == documents.c.bot,
        chunks.c.document == documents.c.source,
        chunks.c.audience.in_(("", bindparam("of_audience"))),
    )
)
_CHUNKS = select(*_CHUNK).where(*_OF_BOT).order_by(chunks.c.document, chunks.c.position)
_CHUNKS_BY_ID = select(*_CHUNK).where(*_OF_BOT, chunks.c.id.in_(bindparam("ids", expanding=True)))
FEW = 8
"""Chunks that a turn asks for at most, unless a bot is set to many passages: they are read by a prepared statement."""
_FEW = tuple(f"id_{number}" for number in range(FEW))
_FEW_CHUNKS = Prepared[tuple[str, str, str, str, str, str, int, str]](
    select(*_CHUNK).where(*_OF_BOT, chunks.c.id.in_(map(bindparam, _FEW)))
)
_CHUNKS_OF = select(*_CHUNK).where(*_OF_DOCUMENT).order_by(chunks.c.position)
_IDS = select(chunks.c.id).where(*_OF_DOCUMENT).order_by(chunks.c.position)
_DELETE_CHUNKS = delete(chunks).where(*_OF_DOCUMENT)
_DELETE_DOCUMENT = delete(documents).where(*_THE_DOCUMENT)

_BATCH = 500
"""Ids that are asked for at once: databases limit the parameters of a statement."""


def documents_of(connection: Connection, tenant: str, bot: str, audience: str | None = None) -> dict[str, DocumentRow]:
    of_bot = {"of_tenant": tenant, "of_bot": bot}
    if audience is None:
        rows = connection.execute(_DOCUMENTS, of_bot)
    else:
        rows = connection.execute(_DOCUMENTS_FOR, {**of_bot, "of_audience": audience})
    return {row.source: DocumentRow(*row) for row in rows}


def put_document(
    connection: Connection, tenant: str, bot: str, document: DocumentRow, made: Sequence[Chunk]
) -> list[str]:
    """Replace the document of that source; the ids of its chunks that are no longer there.

    Raises `KnowledgeError` for a chunk whose id another document has.
    """
    key = {"of_tenant": tenant, "of_bot": bot, "of_document": document.source}
    know_tenant(connection, tenant, document.ingested)
    row = {
        "sha256": document.sha256,
        "title": document.title,
        "chunks": document.chunks,
        "ingested": document.ingested,
    }
    # The document's row first: it is what a second process waits for.
    connection.execute(
        insert_or_update(connection, documents, row), {"tenant": tenant, "bot": bot, "source": document.source, **row}
    )
    before = connection.scalars(_IDS, key).all()
    connection.execute(_DELETE_CHUNKS, key)
    if made:
        try:
            connection.execute(insert(chunks), [_chunk_row(chunk, document.source) for chunk in made])
        except IntegrityError as error:
            raise KnowledgeError(
                f"A chunk of {document.source} has the id of another document's",
                remedy="Derive a chunk's id from its source and position too.",
            ) from error
    kept = {chunk.id for chunk in made}
    return [id_ for id_ in before if id_ not in kept]


def remove_document(connection: Connection, tenant: str, bot: str, source: str) -> list[str]:
    """Forget a document; the ids of its chunks."""
    key = {"of_tenant": tenant, "of_bot": bot, "of_document": source}
    gone = list(connection.scalars(_IDS, key))
    connection.execute(_DELETE_CHUNKS, key)
    connection.execute(_DELETE_DOCUMENT, key)
    return gone


def chunks_by_id(connection: Connection, tenant: str, bot: str, ids: Sequence[str]) -> dict[str, Chunk]:
    """Chunks in the order of `ids`; unknown ones are left out."""
    of_bot = {"of_tenant": tenant, "of_bot": bot}
    if 0 < len(ids) <= len(_FEW):
        few = dict.fromkeys(_FEW, ids[-1]) | dict(zip(_FEW, ids, strict=False))
        made = {row[0]: Chunk(*row) for row in _FEW_CHUNKS.run(connection, {**of_bot, **few})}
        return {id_: made[id_] for id_ in ids if id_ in made}
    found: dict[str, Chunk] = {}
    rest = iter(dict.fromkeys(ids))
    while batch := list(islice(rest, _BATCH)):
        rows = connection.execute(_CHUNKS_BY_ID, {**of_bot, "ids": batch})
        by_id = {row.id: Chunk(*row) for row in rows}
        found.update((id_, by_id[id_]) for id_ in batch if id_ in by_id)
    return found


def all_chunks(connection: Connection, tenant: str, bot: str) -> list[Chunk]:
    return [Chunk(*row) for row in connection.execute(_CHUNKS, {"of_tenant": tenant, "of_bot": bot})]


def chunks_of(connection: Connection, tenant: str, bot: str, source: str) -> list[Chunk]:
    key = {"of_tenant": tenant, "of_bot": bot, "of_document": source}
    return [Chunk(*row) for row in connection.execute(_CHUNKS_OF, key)]


def _chunk_row(chunk: Chunk, document: str) -> Mapping[str, str | int]:
    return {
        "tenant": chunk.tenant,
        "bot": chunk.bot,
        "id": chunk.id,
        "document": document,
        "source": chunk.source,
        "audience": chunk.audience,
        "title": chunk.title,
        "text": chunk.text,
        "position": chunk.position,
    }
