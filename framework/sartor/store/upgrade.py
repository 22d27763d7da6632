"""Bring a database to the version of this Sartor: create it, migrate it, or refuse it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select

from sartor.errors import StoreError
from sartor.store.database import Database
from sartor.store.schema import HEAD, metadata, version

__all__ = ["bring_up_to_date", "migrate"]

MIGRATIONS = Path(__file__).parent / "migrations"


async def bring_up_to_date(database: Database) -> None:
    """Make the tables those of `HEAD`. Several processes may do so at once.

    Raises `StoreError` for a database of a later version, which is left as it is.
    """
    if await database.read(_found) != HEAD:
        await database.upgrade(_upgrade)


def _found(connection: Connection) -> str | None:
    """The version of the tables; None where there are none."""
    if not inspect(connection).has_table(version.name):
        return None
    return connection.scalar(select(version.c.version_num))


def _upgrade(connection: Connection) -> None:
    found = _found(connection)
    if found == HEAD:
        return  # another process was faster
    if found is None:
        metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(version), {"version_num": HEAD})
    elif found < HEAD:
        migrate(connection)
    else:
        raise StoreError(
            f"The state database is of version {found}, and this Sartor knows only up to {HEAD}",
            remedy="Start the Sartor that wrote it, or a later one; or restore a backup from before the upgrade.",
        )


def migrate(connection: Connection, target: str = "head") -> None:
    """Run the migrations up to `target` within the connection's transaction. Imports Alembic."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
