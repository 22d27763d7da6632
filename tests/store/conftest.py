"""Databases to run the store's tests on: SQLite in a file, and a PostgreSQL server of the test run's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sartor.store import Store
from sartor.values import Chunk, Citation, Outcome, Passage, Reply, Turn, Usage


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on loopback, without a database. As root it runs as the user `postgres`."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (the extra `postgres`)")
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine")
    user = "postgres" if os.geteuid() == 0 else None
    root = Path(tempfile.mkdtemp(prefix="sartor-pg-"))
    if user:
        try:
            shutil.chown(root, user)
        except LookupError:
            pytest.skip("initdb refuses root, and there is no user `postgres`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str | Path) -> None:
        subprocess.run(command, user=user, cwd=root, check=True, capture_output=True)

    data = root / "data"
    run(binaries / "initdb", "-D", data, "-A", "trust", "-U", "sartor", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-F -h 127.0.0.1 -p {port} -k {root} -c max_connections=50"
    run(binaries / "pg_ctl", "-D", data, "-w", "-l", root / "log", "-o", options, "start")
    try:
        yield f"postgresql://sartor@127.0.0.1:{port}"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(root, ignore_errors=True)


async def _create_database(server: str) -> str:
    import asyncpg  # type: ignore[import-untyped]

    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server}/{name}"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A fresh, empty database."""
    return asyncio.run(_create_database(postgres_server))


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
