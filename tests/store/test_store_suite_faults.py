"""The suite finds what it is for: here the store has one fault at a time, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sartor.errors import NamingError, StoreError
from sartor.store import TenantStore, documents, feedback, requests, schema, sqlite, store, tenant, tenants, turns
from sartor.store.database import Database
from sartor.store.tenants import insert_or_update
from sartor.testing import StoreSuite
from sartor.testing.suites.store.samples import BEGAN

Patch = pytest.MonkeyPatch
Broken = Callable[[Patch], object]


def committed_in_two_steps(patch: Patch) -> None:
    """The turn first, its tools and verdicts then."""

    async def commit(self: TenantStore, reply: Any) -> None:
        await whole(self, replace(reply, tools=(), verdicts=()))
        if reply.tools or reply.verdicts:
            await self._database.write(lambda connection: rest(connection, reply))

    def rest(connection: sa.Connection, reply: Any) -> None:
        of_turn = {"tenant": reply.turn.tenant, "user_id": reply.turn.user, "turn": reply.turn.id}
        for use in reply.tools:
            connection.execute(sa.insert(schema.tool_uses), {**of_turn, "number": 0, **turns.tool_row(use)})
        for verdict in reply.verdicts:
            connection.execute(sa.insert(schema.verdicts), {**of_turn, "number": 0, **turns.verdict_row(verdict)})

    whole = TenantStore.commit
    patch.setattr(TenantStore, "commit", commit)


def the_row_of_a_tenant_outlives_it(patch: Patch) -> None:
    def most_of_it(connection: sa.Connection, name: str) -> dict[str, int]:
        gone = whole(connection, name)
        tenants.know_tenant(connection, name, BEGAN)
        return gone

    whole = tenant.erase
    patch.setattr(tenant, "erase", most_of_it)


def a_table_is_forgotten_when_erasing(patch: Patch) -> None:
    patch.setattr(tenants, "_BY_REFERENCE", [table for table in tenants._BY_REFERENCE if table.name != "requests"])


def feedback_is_found_without_its_tenant(patch: Patch) -> None:
    found = sa.select(schema.feedback.c.score, schema.feedback.c.comment, schema.feedback.c.given)
    statement = found.where(schema.feedback.c.turn == sa.bindparam("of_turn")).limit(1)
    patch.setattr(feedback, "_FIND", statement)


def documents_are_removed_of_all_tenants(patch: Patch) -> None:
    gone = sa.delete(schema.chunks).where(schema.chunks.c.document == sa.bindparam("of_document"))
    patch.setattr(documents, "_DELETE_CHUNKS", gone)


def the_last_claim_counts(patch: Patch) -> None:
    def replaced(connection: sa.Connection, table: sa.Table) -> Any:
        return insert_or_update(connection, table, ("turn", "fingerprint", "created"))

    patch.setattr(requests, "insert_or_keep", replaced)


def whoever_comes_changes_where_flows_stand(patch: Patch) -> None:
    def unasked(connection: sa.Connection, conversation: Mapping[str, str], old: object, new: Any) -> bool:
        statement = sa.update(schema.conversations).where(*turns._OF_CONVERSATION).values(standing=dict(new))
        return connection.execute(statement, conversation).rowcount == 1

    patch.setattr(turns, "exchange_standing", unasked)


def turns_are_numbered_by_what_was_read_before(patch: Patch) -> None:
    """The row of the conversation is not what others wait for."""

    def number(connection: sa.Connection, turn: Any, now: Any) -> int:
        counted(connection, turn, now)
        return int(connection.scalar(sa.select(sa.func.count()).select_from(schema.turns)) or 0) + 1

    counted = turns._next_number
    patch.setattr(turns, "_next_number", number)


def long_texts_are_cut(patch: Patch) -> None:
    bind = schema.Writing.process_bind_param
    patch.setattr(
        schema.Writing,
        "process_bind_param",
        lambda self, value, dialect: bind(self, value[:65_535], dialect) if isinstance(value, str) else value,
    )


def odd_letters_go_to_the_database(patch: Patch) -> None:
    patch.setattr(schema.Writing, "process_bind_param", lambda self, value, dialect: value)


def names_are_compared_without_case(patch: Patch) -> None:
    column = schema.conversations.c.id
    patch.setattr(column, "type", sa.Text(collation="NOCASE"))


def opening_begins_anew(patch: Patch) -> None:
    def anew(connection: sa.Connection) -> None:
        schema.metadata.drop_all(connection)
        schema.metadata.create_all(connection)
        connection.execute(sa.insert(schema.version), {"version_num": schema.HEAD})

    async def bring_up_to_date(database: Database) -> None:
        await database.upgrade(anew)

    patch.setattr(store, "bring_up_to_date", bring_up_to_date)


def a_document_is_deleted_first(patch: Patch) -> None:
    """In a transaction of its own, so that the old one is gone when the new one cannot be stored."""

    async def put(self: TenantStore, bot: str, source: str, *rest: Any) -> list[str]:
        await self.remove_document(bot, source)
        return await whole(self, bot, source, *rest)

    whole = TenantStore.put_document
    patch.setattr(TenantStore, "put_document", put)


FAULTS: list[tuple[Broken, str, tuple[object, ...]]] = [
    (committed_in_two_steps, "test_a_turn_is_committed_as_a_whole_or_not_at_all", ("tools",)),
    (committed_in_two_steps, "test_a_turn_is_committed_as_a_whole_or_not_at_all", ("verdicts",)),
    (the_row_of_a_tenant_outlives_it, "test_erasing_a_tenant_leaves_nothing_of_it_in_any_table", ()),
    (a_table_is_forgotten_when_erasing, "test_erasing_a_tenant_leaves_nothing_of_it_in_any_table", ()),
    (feedback_is_found_without_its_tenant, "test_nothing_of_another_tenant_is_read", ("feedback",)),
    (documents_are_removed_of_all_tenants, "test_nothing_of_another_tenant_is_changed", ("remove_document", True)),
    (documents_are_removed_of_all_tenants, "test_nothing_of_another_tenant_is_changed", ("put_document", False)),
    (the_last_claim_counts, "test_the_first_claim_of_a_request_counts", ()),
    (the_last_claim_counts, "test_a_request_is_claimed_by_one_of_many", ()),
    (whoever_comes_changes_where_flows_stand, "test_one_of_many_changes_where_flows_stand", ()),
    (whoever_comes_changes_where_flows_stand, "test_where_flows_stand_is_changed_by_who_knows_where", ()),
    (turns_are_numbered_by_what_was_read_before, "test_several_who_write_at_once_lose_nothing", ()),
    (long_texts_are_cut, "test_long_texts_are_whole", ()),
    (odd_letters_go_to_the_database, "test_text_that_no_database_can_hold_is_mended", ()),
    (opening_begins_anew, "test_opening_and_migrating_again_change_nothing", ()),
    (a_document_is_deleted_first, "test_a_document_that_cannot_be_stored_leaves_the_one_before", ()),
]


@pytest.mark.parametrize(("broken", "test", "given"), FAULTS, ids=[f"{row[0].__name__}-{row[1]}" for row in FAULTS])
def test_a_fault_is_found(url: str, monkeypatch: Patch, broken: Broken, test: str, given: tuple[object, ...]) -> None:
    broken(monkeypatch)
    with pytest.raises((AssertionError, StoreError)):
        getattr(StoreSuite(), test)(url, *given)


def test_names_that_a_database_takes_for_one_another_are_found(tmp_path: Any, monkeypatch: Patch) -> None:
    names_are_compared_without_case(monkeypatch)
    with pytest.raises(NamingError, match="has no conversation"):
        StoreSuite().test_names_that_look_alike_are_not_the_same(f"sqlite:///{tmp_path}/sartor.db")


def test_work_that_is_dropped_at_the_end_is_found(tmp_path: Any, monkeypatch: Patch) -> None:
    def finish(self: sqlite.SQLiteDatabase) -> None:
        self._writer.shutdown(cancel_futures=True)
        whole(self)

    whole = sqlite.SQLiteDatabase._finish
    monkeypatch.setattr(sqlite.SQLiteDatabase, "_finish", finish)
    with pytest.raises(asyncio.CancelledError):
        StoreSuite().test_closing_waits_for_what_has_begun(f"sqlite:///{tmp_path}/sartor.db")
