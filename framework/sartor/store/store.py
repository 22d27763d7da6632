"""The state database of a project."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL, make_url, select
from sqlalchemy.exc import ArgumentError

from sartor.errors import UsageError
from sartor.store.database import Database
from sartor.store.keys import find_key
from sartor.store.rows import KeyRow
from sartor.store.sqlite import SQLiteDatabase
from sartor.store.tenant import TenantStore
from sartor.store.tenants import tenant_names
from sartor.store.upgrade import bring_up_to_date

__all__ = ["Store", "database_at"]

_REMEDY = "Write sqlite:///state/sartor.db (four slashes for an absolute path) or postgresql://user@host/database."


class Store:
    """The state database: SQLite or PostgreSQL, one schema. Open it with `Store.open`, in ``async with``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database, which is created or migrated as needed.

        `url` is ``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``, ``sqlite://`` (memory, for
        tests) or ``postgresql://user:password@host/database``. Raises `UsageError` for any other, and
        `StoreError` when the database cannot be used or was written by a later version.
        """
        database = database_at(url)
        try:
            await bring_up_to_date(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    def tenant(self, name: str) -> TenantStore:
        """The part of one tenant, who need not have anything stored yet. Raises `NamingError`."""
        return TenantStore(self._database, name)

    async def reach(self) -> None:
        """Ask the database for nothing but an answer. Raises `StoreError`."""
        await self._database.read(lambda connection: connection.execute(select(1)))

    async def tenants(self) -> list[str]:
        """The tenants of whom something is stored, by name."""
        return await self._database.read(tenant_names)

    async def find_key(self, key: str) -> KeyRow | None:
        """The API key with the id `key`, which tells whose it is; None where there is none."""
        return await self._database.read(lambda connection: find_key(connection, key))

    async def close(self) -> None:
        """Finish what has begun and release the database. Calling it again does nothing."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def database_at(url: str) -> Database:
    """The database that `url` names, not opened yet. Raises `UsageError`."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("The address of the state database is no URL", remedy=_REMEDY) from error
    place = parsed.render_as_string(hide_password=True)
    if parsed.drivername == "sqlite":
        if parsed.host or parsed.query:
            raise UsageError("A SQLite URL has neither host nor options", where=place, remedy=_REMEDY)
        in_memory = parsed.database in (None, "", ":memory:")
        return SQLiteDatabase(None if in_memory else Path(str(parsed.database)).absolute())
    if parsed.drivername in ("postgresql", "postgres"):
        return _postgres(parsed, place)
    raise UsageError(f"Sartor keeps no state in {parsed.drivername!r}", where=place, remedy=_REMEDY)


def _postgres(url: URL, place: str) -> Database:
    try:
        from sartor.store.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The state database is on PostgreSQL, and {error.name} is not installed",
            where=place,
            remedy="Install it: pip install 'sartor[postgres]'",
        ) from error
    return PostgresDatabase(url)
