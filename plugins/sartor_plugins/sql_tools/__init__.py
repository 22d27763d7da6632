"""Named queries that only read, as tools."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from sartor.errors import PluginError, SartorError, UsageError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.secrets import resolve_secret
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Turn

from sartor_plugins.reach.breaker import Breaker
from sartor_plugins.reach.making import Arguments, make_tool
from sartor_plugins.reach.settings import schema_of
from sartor_plugins.sql_tools.settings import DatabaseSettings, QuerySettings, SqlSettings
from sartor_plugins.sql_tools.statement import Statement, parse_statement

__all__ = ["SqlPlugin"]

_FAILURES, _REST = 5, 30


class Database(Protocol):
    """Where a query is run."""

    async def rows(
        self, statement: Statement, values: Mapping[str, JSONValue], most: int, seconds: float
    ) -> list[dict[str, object]]: ...

    async def check(self, statement: Statement) -> None: ...

    async def close(self) -> None: ...


class SqlPlugin(Plugin):
    """One tool for each query of each database."""

    Settings: ClassVar[type[PluginSettings]] = SqlSettings
    hook_versions = "1"

    def __init__(self, settings: SqlSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._told = settings.databases
        self._databases: dict[str, Database] = {}

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        tools = []
        for name, told in self._told.items():
            self._databases[name] = _open(name, told, self.directory)
            tools += [_make_tool(label, query, self._databases[name]) for label, query in told.queries.items()]
        return tools

    async def check(self) -> Sequence[str]:
        faults = []
        for name, database in self._databases.items():
            for label, query in self._told[name].queries.items():
                try:
                    await database.check(parse_statement(label, query.sql))
                except SartorError as error:
                    faults.append(f"the query {label!r} cannot be run: {error.remedy or error.what}")
        return faults

    async def close(self) -> None:
        for database in self._databases.values():
            await database.close()


def _open(name: str, told: DatabaseSettings, directory: Path) -> Database:
    url, near = told.url, told.url.startswith("sqlite:")
    if not near:
        url = resolve_secret(url, directory)
    if url.startswith("sqlite:"):
        from sartor_plugins.sql_tools.sqlite import SqliteDatabase

        root = directory.resolve()
        path = (root / url.removeprefix("sqlite:").removeprefix("///")).resolve()
        if near and not path.is_relative_to(root):
            raise PluginError(
                f"sql: the file of the database {name!r} is outside the bot's folder",
                where=str(root),
                remedy="Put it there, or give its place by reference (env:NAME).",
            )
        if not path.is_file():
            raise PluginError(f"sql: there is no file of the database {name!r}", where=str(root))
        return SqliteDatabase(path)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from sartor_plugins.sql_tools.postgres import PostgresDatabase
        except ModuleNotFoundError as error:
            raise PluginError(
                f"sql: the database {name!r} needs the package {error.name!r}, which is not installed",
                remedy="pip install 'sartor[postgres]'",
            ) from error

        kinds = (query.arguments.items() for query in told.queries.values())
        return PostgresDatabase(url, frozenset(key for each in kinds for key, one in each if one.type == "date"))
    raise UsageError(
        f"the address of the database {name!r} is of no kind that is known",
        remedy="It begins with sqlite: or postgresql://.",
    )


def _make_tool(name: str, told: QuerySettings, database: Database) -> Tool:
    statement = parse_statement(name, told.sql)
    used, declared = set(statement.names), set(told.arguments)
    if used != declared:
        odd = sorted(used ^ declared)[0]
        fault = "is not declared" if odd in used else "does not stand in it"
        raise PluginError(f"sql: {odd!r} of the query {name!r} {fault}", remedy="Declare each :name, and no other.")

    async def work(turn: Turn, arguments: Arguments) -> JSONValue:
        values = {key: arguments.get(key, one.default) for key, one in told.arguments.items()}
        rows = await database.rows(statement, values, told.rows + 1, told.timeout)
        shown: list[JSONValue] = [{key: _shown(value) for key, value in row.items()} for row in rows[: told.rows]]
        if not shown:
            return "nothing was found"
        if told.rows == 1:
            return shown[0]
        return (
            {"rows": shown, "note": f"only the first {told.rows} rows; there are more"} if rows[told.rows :] else shown
        )

    settings = told.model_copy(update={"timeout": told.timeout + 1})  # the database stops it first
    return make_tool(
        name, told.describe, schema_of(told.arguments), work, settings, acts=False, breaker=Breaker(_FAILURES, _REST)
    )


def _shown(value: object) -> JSONValue:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return str(value)
