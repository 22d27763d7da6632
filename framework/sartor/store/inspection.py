"""What stands in a state database, table by table, for tests of what the store promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, MetaData, Table, inspect, select

from sartor.store.schema import version
from sartor.store.store import database_at
from sartor.store.upgrade import migrate

__all__ = ["Rows", "contents", "migrate_from_the_start"]

Rows = Mapping[str, Sequence[Mapping[str, object]]]
"""The rows of each table, in an order that is always the same."""


async def contents(url: str) -> Rows:
    """Every row of every table that the database at `url` has, but for the version of the tables.

    The tables are those that the database itself tells of, so one that `sartor.store.schema` forgot is there too.
    """
    database = database_at(url)
    try:
        return await database.read(_contents)
    finally:
        await database.close()


async def migrate_from_the_start(url: str) -> None:
    """Run the migrations that the database at `url` has not seen, beginning with the first where it has no tables."""
    database = database_at(url)
    try:
        await database.upgrade(migrate)
    finally:
        await database.close()


def _contents(connection: Connection) -> Rows:
    found: dict[str, list[Mapping[str, object]]] = {}
    for name in inspect(connection).get_table_names():
        if name != version.name:
            table = Table(name, MetaData(), autoload_with=connection, resolve_fks=False)
            rows = [{**row} for row in connection.execute(select(table)).mappings()]
            found[name] = sorted(rows, key=repr)
    return found
