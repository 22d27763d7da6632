"""Whatever a database raises becomes `StoreError`: none is missed."""

from __future__ import annotations

import asyncio
import errno
import socket
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy.exc
from sartor.errors import NamingError, StoreError
from sartor.store import KeyRow, Store, TenantStore
from sartor.store import sqlite as sqlite_module
from sartor.store.faults import translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sartor.values import Chunk, Reply


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    error.args = ("said",)
    if isinstance(error, sqlalchemy.exc.StatementError):
        error.orig, error.statement, error.params, error.detail = sqlite3.OperationalError("said"), None, None, []
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        error.connection_invalidated = True
    return error


KINDS = subclasses(sqlalchemy.exc.SQLAlchemyError) | subclasses(sqlite3.Error)
KINDS |= {OSError, TimeoutError, ConnectionError, ValueError, UnicodeEncodeError, OverflowError}


@pytest.mark.parametrize("kind", sorted(KINDS, key=str), ids=lambda kind: kind.__name__)
def test_every_kind_is_translated(kind: type[Exception]) -> None:
    with pytest.raises(StoreError) as caught, translated("the place"):
        raise made(kind)
    assert isinstance(caught.value.__cause__, kind)
    assert caught.value.where == "the place"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("SQLITE_FULL", "no room left"),
        ("SQLITE_IOERR_SHMSIZE", "no room left"),
        ("SQLITE_BUSY", "locked"),
        ("SQLITE_BUSY_SNAPSHOT", "locked"),
        ("SQLITE_LOCKED", "locked"),
        ("SQLITE_READONLY", "cannot be written"),
        ("SQLITE_READONLY_DIRECTORY", "cannot be written"),
        ("SQLITE_PERM", "cannot be written"),
        ("SQLITE_CANTOPEN", "cannot be reached"),
        ("SQLITE_CORRUPT", "is damaged"),
        ("SQLITE_NOTADB", "is damaged"),
        ("SQLITE_IOERR_FSYNC", "disk of the state database failed"),
        ("SQLITE_NOMEM", "no memory"),
        ("SQLITE_TOOBIG", "cannot hold a value"),
        ("SQLITE_ERROR", "refused a statement"),
    ],
)
def test_sqlite_codes(code: str, expected: str) -> None:
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = getattr(sqlite3, code)
    wrapped = sqlalchemy.exc.OperationalError("SELECT 1", {}, error)
    for raised in (error, wrapped):
        with pytest.raises(StoreError, match=expected), translated("the place"):
            raise raised


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "no room left"),
        (errno.EACCES, "cannot be written"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "disk of the state database failed"),
        (errno.ECONNREFUSED, "cannot be reached"),
    ],
)
def test_errors_of_the_system(number: int, expected: str) -> None:
    with pytest.raises(StoreError, match=expected), translated("the place"):
        raise OSError(number, "said")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("53100", "no room left"),
        ("53300", "no more connections"),
        ("08006", "cannot be reached"),
        ("57P01", "cannot be reached"),
        ("57014", "did not answer in time"),
        ("28P01", "does not let Sartor in"),
        ("3D000", "cannot be reached"),
        ("25006", "cannot be written"),
        ("40P01", "locked"),
        ("XX001", "is damaged"),
        ("22021", "cannot hold a value"),
        ("42703", "refused a statement"),
    ],
)
def test_postgresql_states(state: str, expected: str) -> None:
    class PostgresError(Exception):
        sqlstate = state

    wrapped = sqlalchemy.exc.DBAPIError("SELECT 1", {}, PostgresError("said"))
    for raised in (PostgresError("said"), wrapped):
        with pytest.raises(StoreError, match=expected), translated("the place", (PostgresError,)):
            raise raised


def test_mistakes_in_the_code_and_own_errors_pass() -> None:
    for error in (KeyError("x"), NamingError("x"), asyncio.CancelledError()):
        with pytest.raises(type(error)) as caught, translated("the place"):
            raise error
        assert caught.value is error


async def test_every_method_translates(
    tmp_path: Path, make_reply: Callable[..., Reply], make_chunks: Callable[..., list[Chunk]]
) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/sartor.db")
    acme = store.tenant("acme")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "history": lambda: acme.history("support", "ann", "c1", 5),
        "open_handover": lambda: acme.open_handover("support", "ann", "c1"),
        "open_handovers": lambda: acme.open_handovers(),  # noqa: PLW0108
        "handover": lambda: acme.handover("h1"),
        "standing": lambda: acme.standing("support", "ann", "c1"),
        "exchange_standing": lambda: acme.exchange_standing("support", "ann", "c1", old=None, new={}),
        "commit": lambda: acme.commit(make_reply()),
        "commit_said": lambda: acme.commit_said(make_reply()),
        "reply": lambda: acme.reply("t1"),
        "conversations": lambda: acme.conversations("support", "ann", 5),
        "conversation": lambda: acme.conversation("c1"),
        "turns": lambda: acme.turns("c1", 5),
        "last_turns": lambda: acme.last_turns("c1", 5),
        "add_key": lambda: acme.add_key(KeyRow("k1", "acme", "", "digest", frozenset(), datetime.now(UTC))),
        "keys": lambda: acme.keys(),  # noqa: PLW0108
        "revoke_key": lambda: acme.revoke_key("k1"),
        "claim": lambda: acme.claim("ann", "request-1", "fingerprint", "t1"),
        "forget_request": lambda: acme.forget_request("ann", "request-1", "t1"),
        "put_feedback": lambda: acme.put_feedback("t1", 1, ""),
        "feedback": lambda: acme.feedback("t1"),
        "put_response": lambda: acme.put_response("t1", "", {}),
        "responses": lambda: acme.responses("t1", 5),
        "forget_response": lambda: acme.forget_response("t1"),
        "document_chunks": lambda: acme.document_chunks("support", "delivery.md"),
        "usage": lambda: acme.usage(),  # noqa: PLW0108
        "documents": lambda: acme.documents("support"),
        "put_document": lambda: acme.put_document("support", "delivery.md", "aa", "T", make_chunks(2)),
        "remove_document": lambda: acme.remove_document("support", "delivery.md"),
        "chunks": lambda: acme.chunks("support", ["one"]),
        "all_chunks": lambda: acme.all_chunks("support"),
        "erase": lambda: acme.erase(),  # noqa: PLW0108
    }
    assert set(calls) == {name for name in vars(TenantStore) if not name.startswith("_")}
    calls["tenants"] = lambda: store.tenants()  # noqa: PLW0108
    calls["find_key"] = lambda: store.find_key("k1")
    await store.close()
    (tmp_path / "sartor.db").write_bytes(b"no database, but long enough to be read as one" * 100)
    store = Store(sqlite_module.SQLiteDatabase(tmp_path / "sartor.db"))
    acme = store.tenant("acme")
    for name, call in calls.items():
        with pytest.raises(StoreError, match="is damaged, or is no database") as caught:
            await call()
        assert caught.value.where == str(tmp_path / "sartor.db"), name
        assert caught.value.remedy, name
        assert isinstance(caught.value.__cause__, sqlalchemy.exc.DatabaseError), name
    await store.close()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.write_bytes(b"no database" * 1000), "is damaged, or is no database"),
        (lambda path: path.mkdir(), "cannot be reached"),
        (lambda path: path.parent.rmdir() or path.parent.write_text("a file"), "cannot be reached"),
    ],
    ids=["garbage", "a folder", "a file for a folder"],
)
async def test_what_is_no_database(tmp_path: Path, spoil: Callable[[Path], Any], expected: str) -> None:
    path = tmp_path / "state" / "sartor.db"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(StoreError, match=expected) as caught:
        await Store.open(f"sqlite:///{path}")
    assert caught.value.where == str(path)


async def test_a_damaged_page(tmp_path: Path, make_reply: Callable[..., Reply]) -> None:
    path = tmp_path / "sartor.db"
    async with await Store.open(f"sqlite:///{path}") as store:
        await store.tenant("acme").commit(make_reply("x" * 50_000))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        async with await Store.open(f"sqlite:///{path}") as store:
            await store.tenant("acme").history("support", "ann", "c1", 5)


async def test_read_only(tmp_path: Path, make_reply: Callable[..., Reply], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/sartor.db"
    async with await Store.open(url) as store:
        await store.tenant("acme").commit(make_reply())
    monkeypatch.setattr(sqlite_module, "_PRAGMAS", (*sqlite_module._PRAGMAS, "query_only = ON"))
    async with await Store.open(url) as store:
        acme = store.tenant("acme")
        with pytest.raises(StoreError, match="cannot be written to"):
            await acme.commit(make_reply())
        assert len(await acme.history("support", "ann", "c1", 5)) == 1


async def test_no_text_of_a_user_stands_in_an_error(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply(id="t1"))
    for reply in (make_reply("SECRET", "SECRET", id="t1"), replace(make_reply("SECRET"), seconds={"a": float("inf")})):
        with pytest.raises(StoreError) as caught:
            await acme.commit(reply)
        error: BaseException | None = caught.value
        while error is not None:
            assert "SECRET" not in str(error)
            error = error.__cause__


async def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (the extra `postgres`)")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            await Store.open(f"postgresql://sartor:secret@127.0.0.1:{port}/sartor")
    assert "secret" not in str(caught.value)
    assert f"127.0.0.1:{port}" in str(caught.value)


async def test_a_database_that_the_server_does_not_have(postgres_server: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        await Store.open(f"{postgres_server}/unknown")


async def test_a_user_whom_the_server_does_not_know(postgres_server: str) -> None:
    with pytest.raises(StoreError, match="does not let Sartor in"):
        await Store.open(f"{postgres_server.replace('sartor@', 'nobody@')}/postgres")
