"""Queries on an SQLite file that nothing here can change."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sartor.errors import ToolError
from sartor.values import JSONValue

from sartor_plugins.reach.breaker import Outage
from sartor_plugins.sql_tools.statement import Statement

__all__ = ["SqliteDatabase"]

log = logging.getLogger("sartor.sql")

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_STEPS = 2000
"""Instructions of SQLite between two looks at the clock."""
_LONGEST_VALUE = 1_000_000


class SqliteDatabase:
    """A connection is opened for each query, so a file that was replaced is seen."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def rows(
        self, statement: Statement, values: Mapping[str, JSONValue], most: int, seconds: float
    ) -> list[dict[str, object]]:
        """At most `most` rows. Raises `ToolError`."""
        return await asyncio.to_thread(self._rows, statement, values, most, time.monotonic() + seconds)

    async def check(self, statement: Statement) -> None:
        """Raises `ToolError` where `statement` could not be run."""
        plan = Statement(f"EXPLAIN {statement.text}", statement.names)
        await asyncio.to_thread(self._rows, plan, dict.fromkeys(plan.names), 1, time.monotonic() + 5)

    async def close(self) -> None:
        pass

    def _rows(
        self, statement: Statement, values: Mapping[str, JSONValue], most: int, until: float
    ) -> list[dict[str, object]]:
        try:
            with closing(self._open(until)) as connection:
                cursor = connection.execute(statement.text, dict(values))
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(most)]
        except sqlite3.Error as error:
            log.warning("a query on %s failed: %s", self._path.name, error)
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise Outage("the query took too long") from error
            raise ToolError("the query cannot be run", remedy=str(error)) from error

    def _open(self, until: float) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_authorizer(_judge)
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        return connection


def _judge(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
