"""Databases to run the store's tests on: SQLite in a file, and the PostgreSQL server of `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sartor.store import Store
from sartor.testing.suites.store.samples import sample_chunks, sample_reply
from sartor.values import Chunk, Reply


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
    return sample_reply


@pytest.fixture
def make_chunks() -> MakeChunks:
    """`number` chunks of a document of acme/support, unless told otherwise."""
    return sample_chunks
