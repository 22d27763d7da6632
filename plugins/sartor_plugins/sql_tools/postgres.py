"""Queries on PostgreSQL, in transactions that only read."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]
from sartor.errors import ToolError
from sartor.values import JSONValue

from sartor_plugins.reach.breaker import Outage
from sartor_plugins.sql_tools.statement import Statement

__all__ = ["PostgresDatabase"]

log = logging.getLogger("sartor.sql")

_CONNECTIONS = 4
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class PostgresDatabase:
    """A small pool for each event loop, opened with the first query."""

    def __init__(self, url: str, dates: frozenset[str] = frozenset()) -> None:
        """`dates` are the parameters that are dates, which travel as such."""
        self._url = url
        self._dates = dates
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncpg.Pool] = WeakKeyDictionary()

    async def rows(
        self, statement: Statement, values: Mapping[str, JSONValue], most: int, seconds: float
    ) -> list[dict[str, object]]:
        """At most `most` rows. Raises `ToolError`."""
        given = [self._value(name, values.get(name)) for name in statement.names]
        try:
            async with asyncio.timeout(seconds + 1):
                pool = await self._pool()
                async with pool.acquire() as connection, connection.transaction(readonly=True):
                    await connection.execute(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
                    cursor = await connection.cursor(statement.numbered(), *given)
                    return [dict(row) for row in await cursor.fetch(most)]
        except (asyncpg.QueryCanceledError, TimeoutError) as error:
            raise Outage("the query took too long") from error
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
            if isinstance(error, asyncpg.DataError | ValueError):  # asyncpg calls a value of a wrong type so
                raise ToolError("a value does not fit the query", remedy=str(error)) from error
            raise Outage("the database cannot be reached", remedy=type(error).__name__) from error
        except asyncpg.PostgresError as error:
            log.warning("a query on PostgreSQL failed: %s: %s", type(error).__name__, error)
            raise ToolError("the query cannot be run", remedy=f"{type(error).__name__}: {error}") from error

    async def check(self, statement: Statement) -> None:
        """Raises `ToolError` where `statement` could not be run."""
        try:
            async with asyncio.timeout(10):
                pool = await self._pool()
                async with pool.acquire() as connection:
                    await connection.prepare(statement.numbered())
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()

    async def _pool(self) -> asyncpg.Pool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            settings = {"default_transaction_read_only": "on", "application_name": "sartor"}
            self._pools[loop] = asyncpg.create_pool(
                self._url, min_size=0, max_size=_CONNECTIONS, server_settings=settings, statement_cache_size=0
            )
        return await self._pools[loop]  # which opens it once, whoever waits

    def _value(self, name: str, value: JSONValue) -> object:
        if name in self._dates and isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return datetime.date.fromisoformat(value)
            except ValueError as error:
                raise ToolError(f"{value} is no date") from error
        return value
