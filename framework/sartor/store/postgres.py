"""PostgreSQL through asyncpg, which only this module imports (the extra `postgres`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import TypeVar

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from sartor.errors import StoreError
from sartor.store.database import PATIENCE, Database, Work
from sartor.store.faults import is_transient

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

_CONNECTIONS = 5
_STATEMENT_SECONDS = 60
_UPGRADE_LOCK = 7302619482210
"""Key of the advisory lock under which one process at a time creates or upgrades tables."""


class PostgresDatabase(Database):
    """A database of a server. Nothing is opened before the first transaction; it belongs to one event loop."""

    driver = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def __init__(self, url: URL) -> None:
        super().__init__(url.render_as_string(hide_password=True))
        self._engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            pool_timeout=PATIENCE,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "timeout": PATIENCE,
                "command_timeout": _STATEMENT_SECONDS,
                "server_settings": {"application_name": "sartor", "timezone": "UTC"},
            },
        )
        self._begun: set[asyncio.Task[object]] = set()
        self._closed = False

    async def _read(self, work: Work[T]) -> T:
        return await self._whole(self._transaction(work))

    async def _write(self, work: Work[T]) -> T:
        return await self._whole(self._transaction(work))

    async def _upgrade(self, work: Work[None]) -> None:
        await self._whole(self._transaction(work, lock=True))

    async def _scrub(self) -> None:
        """Nothing: what deleted rows leave in the files is the server's to vacuum."""

    async def _close(self) -> None:
        self._closed = True
        if self._begun:
            await asyncio.wait(self._begun)
        await self._engine.dispose()

    async def _whole(self, transaction: Coroutine[None, None, T]) -> T:
        """Await a transaction that goes on to its end even when its caller goes away."""
        if self._closed:
            transaction.close()
            raise StoreError("The state database was closed", where=self.place, remedy="Open it again.")
        task = asyncio.create_task(transaction)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else may ask
        return await asyncio.shield(task)

    async def _transaction(self, work: Work[T], *, lock: bool = False) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                async with self._engine.begin() as connection:
                    if lock:
                        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
                    return await connection.run_sync(work)
            except DBAPIError as error:
                if loop.time() > deadline or not is_transient(error):
                    raise
            await asyncio.sleep(random.uniform(0.001, 0.02))
