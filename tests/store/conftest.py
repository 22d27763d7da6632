"""Databases to run the store's tests on: SQLite in a file, and the PostgreSQL server of `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from sartor.store import Store
from sartor.values import Chunk, Citation, Outcome, Passage, Reply, Turn, Usage


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that does not exist yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/sartor.db"
    empty: str = request.getfixturevalue("postgres_url")
    return empty


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await Store.open(url) as opened:
        yield opened


MakeReply = Callable[..., Reply]
MakeChunks = Callable[..., list[Chunk]]


@pytest.fixture
def make_reply() -> MakeReply:
    """A reply of acme/support to ann in conversation c1, unless told otherwise."""

    def make(question: str = "How long?", text: str = "Two days.", **turn: str) -> Reply:
        of_turn = {"id": uuid4().hex, "conversation": "c1", "tenant": "acme", "bot": "support", "user": "ann"} | turn
        return Reply(
            Turn(text=question, **of_turn),  # type: ignore[arg-type]
            text,
            Outcome.ANSWERED,
            citations=(Citation(1, "p1", "delivery.md", "Delivery", "Two days."),),
            passages=(Passage("p1", of_turn["tenant"], "delivery.md", "Delivery", "It takes two days.", 0.5),),
            usage=Usage(100, 40, 10, 1),
        )

    return make


@pytest.fixture
def make_chunks() -> MakeChunks:
    """`number` chunks of a document of acme/support, unless told otherwise."""

    def make(number: int, source: str = "delivery.md", *, tenant: str = "acme", text: str = "Text") -> list[Chunk]:
        return [
            Chunk(f"{tenant}-{source}-{text}-{at}", tenant, "support", source, "Title", f"{text} {at}", at)
            for at in range(number)
        ]

    return make
