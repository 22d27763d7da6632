"""Creating, migrating and refusing databases; what opening one imports."""

from __future__ import annotations

import asyncio
import inspect as python_inspect
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from sartor.errors import StoreError, UsageError
from sartor.store import Store, TenantStore, upgrade
from sartor.store.schema import HEAD, metadata
from sartor.store.store import database_at
from sqlalchemy import Connection, inspect, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sartor.values import Reply


def structure(connection: Connection) -> dict[str, list[object]]:
    """Tables with their columns, keys and indexes, as the database tells them."""
    found = inspect(connection)

    def told(value: Any) -> str:
        return repr({key: str(one) for key, one in value.items()}) if isinstance(value, dict) else str(value)

    def plain(rows: list[Any]) -> list[str]:
        return sorted(repr(sorted((key, told(value)) for key, value in row.items())) for row in rows)

    return {
        table: [
            plain(list(found.get_columns(table))),
            repr(found.get_pk_constraint(table)),
            plain(list(found.get_foreign_keys(table))),
            plain(list(found.get_unique_constraints(table))),
            plain(list(found.get_indexes(table))),
        ]
        for table in sorted(found.get_table_names())
        if table != "sartor_version"
    }


async def test_migrations_and_tables_agree(url: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    other = request.getfixturevalue("postgres_url") if url.startswith("postgres") else f"sqlite:///{tmp_path}/other.db"
    created, migrated = database_at(url), database_at(str(other))
    try:
        await upgrade.bring_up_to_date(created)
        await migrated.upgrade(upgrade.migrate)
        expected = await created.read(structure)
        assert set(expected) == set(metadata.tables) - {"sartor_version"}
        assert await migrated.read(structure) == expected
        for database in (created, migrated):
            versions = await database.read(lambda c: c.scalars(text("SELECT version_num FROM sartor_version")).all())
            assert versions == [HEAD]
    finally:
        await created.close()
        await migrated.close()


async def test_what_the_first_version_stored_is_still_there(url: str, make_reply: Callable[..., Reply]) -> None:
    database = database_at(url)
    await database.upgrade(lambda connection: upgrade.migrate(connection, "0001"))
    assert "api_keys" not in await database.read(structure)
    moment = "2026-11-01 12:00:00" if url.startswith("sqlite") else "2026-11-01 12:00:00+00:00"
    rows = [
        f"INSERT INTO tenants VALUES ('acme', '{moment}')",
        "INSERT INTO conversations (tenant, id, bot, user_id, turns, started, updated) "
        f"VALUES ('acme', 'c1', 'support', 'ann', 1, '{moment}', '{moment}')",
        "INSERT INTO turns (tenant, id, bot, user_id, conversation, number, question, reply, outcome, audience, "
        "language, model, error, citations, passages, seconds, started, committed) "
        "VALUES ('acme', 't1', 'support', 'ann', 'c1', 1,"
        f" 'How long?', 'Two days.', 'answered', '', 'en', 'm', '', '[]', '[]', '{{}}', '{moment}', '{moment}')",
        "INSERT INTO usage (tenant, turn, bot, user_id, model, committed, prompt, cached, generated, calls) "
        f"VALUES ('acme', 't1', 'support', 'ann', 'm', '{moment}', 1, 0, 1, 1)",
    ]
    await database.write(lambda connection: [connection.exec_driver_sql(row) for row in rows])
    await database.close()
    async with await Store.open(url) as store:
        acme = store.tenant("acme")
        assert [stored.reply.turn.id for stored in await acme.turns("c1", 5)] == ["t1"]
        assert (await acme.turns("c1", 5))[0].reply.flow is None
        assert await acme.standing("support", "ann", "c1") is None
        await acme.commit(make_reply(id="t2"))
        assert await acme.put_feedback("t1", -1, "No.")
        assert (await acme.claim("ann", "request-1", "fingerprint", "t2")).turn == "t2"
        assert await acme.keys() == []


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Sartor of tomorrow, whose migration changes a table to which others refer. Call `Store.open` with it."""
    migrations = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "v9000_tomorrow.py").write_text(
        textwrap.dedent(f"""
            import sqlalchemy as sa
            from alembic import op

            revision = "9000"
            down_revision = "{HEAD}"

            def upgrade():
                with op.batch_alter_table("turns", recreate="auto") as batch:
                    batch.add_column(sa.Column("tomorrow", sa.Text(), nullable=True))
                    batch.alter_column("model", new_column_name="voice")
        """)
    )
    monkeypatch.setattr(upgrade, "MIGRATIONS", migrations)
    monkeypatch.setattr(upgrade, "HEAD", "9000")
    return "9000"


async def test_an_older_database_is_migrated_once(
    url: str, make_reply: Callable[..., Reply], request: pytest.FixtureRequest
) -> None:
    async with await Store.open(url) as store:
        await store.tenant("acme").commit(make_reply())
    request.getfixturevalue("next_version")
    stores = await asyncio.gather(*(Store.open(url) for _ in range(3)))
    try:
        columns = await stores[0]._database.read(lambda c: {row["name"] for row in inspect(c).get_columns("turns")})
        assert {"tomorrow", "voice"} <= columns
        assert len(await stores[1].tenant("acme").history("support", "ann", "c1", 5)) == 1
        assert (await stores[2].tenant("acme").usage()).calls == 1
        versions = await stores[0]._database.read(
            lambda c: c.scalars(text("SELECT version_num FROM sartor_version")).all()
        )
        assert versions == ["9000"]
    finally:
        for store in stores:
            await store.close()


async def test_a_database_of_a_later_version_is_left_alone(url: str) -> None:
    database = database_at(url)
    await upgrade.bring_up_to_date(database)
    await database.write(lambda c: c.execute(text("UPDATE sartor_version SET version_num = '9999'")))
    before = await database.read(structure)
    with pytest.raises(StoreError, match=f"of version 9999, and this Sartor knows only up to {HEAD}") as caught:
        await Store.open(url)
    assert caught.value.remedy is not None
    assert await database.read(structure) == before
    await database.close()


async def test_tables_of_others_are_left_alone(url: str) -> None:
    database = database_at(url)
    await database.write(lambda c: c.execute(text("CREATE TABLE usage (mine INTEGER)")))
    with pytest.raises(StoreError, match="tables that are not Sartor's") as caught:
        await Store.open(url)
    assert "a database of its own" in str(caught.value)
    assert list(await database.read(structure)) == ["usage"]
    await database.close()


def test_several_processes_may_create_it_at_once(url: str) -> None:
    code = """
        import asyncio, sys
        from sartor.store import Store

        async def main():
            async with await Store.open(sys.argv[1]) as store:
                assert await store.tenants() == []

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 5


def test_opening_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    code = """
        import asyncio, sys

        import sartor.store

        async def main():
            for _ in range(2):
                async with await sartor.store.Store.open(sys.argv[1]):
                    pass

        asyncio.run(main())
        print(*({"alembic", "asyncpg", "aiosqlite"} & sys.modules.keys()))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), f"sqlite:///{tmp_path}/sartor.db"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == ""


def test_every_reference_holds_the_tenant() -> None:
    for table in metadata.sorted_tables:
        if table.name in ("sartor_version", "tenants"):
            continue
        # A key is what tells the tenant, so its id alone finds it, and is no other tenant's.
        first = "id" if table.name == "api_keys" else "tenant"
        assert next(iter(table.primary_key)).name == first, table.name
        assert table.foreign_key_constraints, table.name
        for constraint in table.foreign_key_constraints:
            targets = [element.target_fullname for element in constraint.elements]
            assert constraint.column_keys[0] == "tenant"
            assert targets[0] in ("tenants.name", f"{constraint.referred_table.name}.tenant")


def test_a_row_cannot_refer_to_another_tenants(tmp_path: Path, make_reply: Callable[..., Reply]) -> None:
    async def fill() -> None:
        async with await Store.open(f"sqlite:///{tmp_path}/sartor.db") as store:
            await store.tenant("acme").commit(make_reply(id="t1"))
            await store.tenant("globex").commit(make_reply(tenant="globex", id="t2", conversation="c2"))

    asyncio.run(fill())
    connection = sqlite3.connect(tmp_path / "sartor.db")
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("UPDATE turns SET tenant = 'globex' WHERE id = 't1'")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("INSERT INTO verdicts VALUES ('globex', 'ann', 't1', 0, 'p', 's', 'k', 'r', '')")
    connection.close()


def test_no_method_of_a_tenants_store_takes_a_tenant() -> None:
    methods = [method for name, method in vars(TenantStore).items() if not name.startswith("_")]
    assert len(methods) == 31
    for method in methods:
        assert "tenant" not in python_inspect.signature(method).parameters


@pytest.mark.parametrize(
    "bad",
    ["sartor.db", "mysql://u:secret@h/db", "sqlite:///x.db?mode=ro", "sqlite://host/x.db", "postgresql+psycopg://"],
)
async def test_a_wrong_address_is_an_error_of_usage(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        await Store.open(bad)
    assert "sqlite:///" in str(caught.value)
    assert "secret" not in str(caught.value)
