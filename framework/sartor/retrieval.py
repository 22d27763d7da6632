"""Where passages come from: what a retriever and a search index are, and what a document is made of.

All of them are bound to one tenant when they are built; the core checks each passage's tenant once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sartor.values import Chunk, Hit, Passage, Turn

__all__ = ["Document", "Index", "Reader", "Retriever", "Section"]


@runtime_checkable
class Retriever(Protocol):
    """A source of passages for a turn."""

    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        """At most `limit` passages of `turn.tenant` for `query`, the best first, scores between 0 and 1.

        `turn.before` has what was said just before."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document under one heading."""

    heading: str
    """The headings above the text, outermost first, joined by `` › ``; empty at the top of a document."""
    text: str
    """Paragraphs separated by a blank line; each list item and each table row on a line of its own."""
    anchor: str = ""
    """Where in the file: ``page=3``, ``row=12``; becomes part of a passage's source."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a reader makes of a file."""

    title: str
    sections: tuple[Section, ...]


Reader = Callable[[Path], Document]
"""Reads one file. It may raise anything: the file is then named, skipped, and the others are kept."""


class Index(Protocol):
    """A search index over the chunks of one bot. It keeps what it needs to search, not the text of record."""

    async def add(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks; one whose id is there already is replaced."""

    async def remove(self, ids: Sequence[str]) -> None:
        """Remove chunks by id; unknown ids are no error."""

    async def search(self, query: str, limit: int, audience: str = "", *, before: str = "") -> Sequence[Hit]:
        """At most `limit` hits, the best first, among chunks for everybody and for `audience`.

        `before` is what was said before the query; hits for both together count somewhat less."""

    async def ids(self) -> frozenset[str]:
        """The ids of all chunks it holds, to compare with the state database."""

    async def clear(self) -> None:
        """Forget everything, before a rebuild or when the bot is erased."""

    async def close(self) -> None:
        """Release files and locks. A closed index opens again on its next use."""
