"""SQLite in threads of its own: one that writes, a few that read.

A transaction is one hop to a thread and back, whatever it consists of. Only a glance is done where it is asked for: it
reads a few rows by their keys, which takes less time than a hop. It never waits for a lock, but it may for a disk,
where the rows are not in memory yet.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from sartor.errors import StoreError
from sartor.store.database import PATIENCE, Database, Work
from sartor.store.faults import is_transient

__all__ = ["SQLiteDatabase"]

T = TypeVar("T")

_READERS = 4
_PRAGMAS = (
    "busy_timeout = 250",  # milliseconds; `_retry` goes on from there, with more fairness
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
)
_PRAGMAS_OF_GLANCES = ("busy_timeout = 0", "query_only = ON")
_GLANCE = 0
"""Who keeps the connection for glances: whichever thread it is."""


class SQLiteDatabase(Database):
    """A file, or memory when `path` is None. Nothing is opened before the first transaction."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(str(path) if path else "sqlite://")
        self._path = path
        self._engine = _engine(path, _PRAGMAS)
        self._glances = _engine(path, (*_PRAGMAS, *_PRAGMAS_OF_GLANCES))
        self._glancing = threading.Lock()
        self._writing = self._engine.execution_options(sartor_begin="BEGIN IMMEDIATE")
        self._writer = ThreadPoolExecutor(1, "sartor-store-write")
        self._readers = ThreadPoolExecutor(_READERS, "sartor-store-read") if path else self._writer
        self._connections: dict[tuple[int, Engine], Connection] = {}
        self._closed = False

    async def _read(self, work: Work[T]) -> T:
        return await self._hop(self._readers, partial(self._attempt, self._engine, work, _deadline()))

    async def _glance(self, work: Work[T]) -> T:
        if self._path is not None and self._glancing.acquire(blocking=False):
            try:
                if not self._closed:
                    return self._transaction(_GLANCE, self._glances, work)
            except (DBAPIError, sqlite3.Error) as error:
                if not is_transient(error):
                    raise
            finally:
                self._glancing.release()
        return await self._read(work)

    async def _write(self, work: Work[T]) -> T:
        return await self._hop(self._writer, partial(self._attempt, self._writing, work, _deadline()))

    async def _upgrade(self, work: Work[None]) -> None:
        await self._hop(self._writer, partial(_retry, partial(self._rebuild, work), _deadline()))

    async def _scrub(self) -> None:
        """Rewrite the file without its gaps and empty the write-ahead log.

        `secure_delete` alone is not enough: pages that were split keep copies of rows in their gaps (measured: 13
        in a file of 24 MB, which this took 0.2 s to rewrite).
        """
        await self._hop(self._writer, partial(_retry, self._vacuum, _deadline()))
        await self._hop(self._writer, partial(_retry, self._empty_log, _deadline()))

    async def _close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._finish)

    async def _hop(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError("The state database was closed", where=self.place, remedy="Open it again.")
        return await asyncio.wrap_future(executor.submit(work))

    def _attempt(self, engine: Engine, work: Work[T], deadline: float) -> T:
        return _retry(partial(self._transaction, threading.get_ident(), engine, work), deadline)

    def _transaction(self, holder: int, engine: Engine, work: Work[T]) -> T:
        """`work` in a transaction of the connection that `holder` keeps: fetching one takes as long as a small
        transaction. So would SQLAlchemy's own begin and commit."""
        key = (holder, engine)
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = engine.connect()
        try:
            _begin(connection)
            done = work(connection)
            if connection.in_transaction():  # as SQLAlchemy sees it, which has executed something
                connection.commit()
            else:
                _raw(connection).execute("COMMIT")
        except BaseException:
            del self._connections[key]
            connection.close()  # the pool undoes whatever the transaction has left
            raise
        return done

    def _finish(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        with self._glancing:
            self._close_connections()

    def _close_connections(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._glances.dispose()
        self._engine.dispose()

    def _rebuild(self, work: Work[None]) -> None:
        """Foreign keys are off meanwhile: SQLite changes a table by copying it, and dropping the old one
        would delete the rows that refer to it."""
        with self._writing.connect() as connection:
            raw = _raw(connection)
            raw.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    work(connection)
                    broken = raw.execute("PRAGMA foreign_key_check").fetchone()
                    if broken:
                        raise StoreError(
                            f"A row of {broken[0]} refers to one of {broken[2]} that is not there",
                            where=self.place,
                            remedy="Restore the database from a backup; it was left as it is.",
                        )
            finally:
                raw.execute("PRAGMA foreign_keys = ON")

    def _vacuum(self) -> None:
        with self._engine.connect() as connection:
            _raw(connection).execute("VACUUM")

    def _empty_log(self) -> None:
        with self._engine.connect() as connection:
            [busy, *_] = _raw(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy and self._path is not None:
            error = sqlite3.OperationalError("a reader holds the write-ahead log")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error


def _deadline() -> float:
    return time.monotonic() + PATIENCE


def _raw(connection: Connection) -> sqlite3.Connection:
    """The driver's connection, for what is done outside of transactions."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _retry(work: Callable[[], T], deadline: float) -> T:
    """Do `work` again while another process is in its way. The pauses differ, so that nobody starves."""
    while True:
        try:
            return work()
        except (DBAPIError, sqlite3.Error) as error:
            if time.monotonic() > deadline or not is_transient(error):
                raise
        time.sleep(random.uniform(0.001, 0.02))


def _begin(connection: Connection) -> None:
    """Begin a transaction, unless it has begun: SQLAlchemy says so when it executes its first statement."""
    raw = _raw(connection)
    if not raw.in_transaction:
        raw.execute(connection.get_execution_options().get("sartor_begin", "BEGIN"))


def _engine(path: Path | None, pragmas: Sequence[str]) -> Engine:
    if path is None:
        engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True
        )
    else:
        url = URL.create("sqlite", database=str(path))
        engine = create_engine(url, pool_size=_READERS + 1, pool_use_lifo=True, hide_parameters=True)

    @event.listens_for(engine, "do_connect")
    def create_file(*_: object) -> None:
        """Create the folder and the file for their owner alone. What is there already keeps its permissions."""
        if path is None or path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "begin", _begin)
    return engine
