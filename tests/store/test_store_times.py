"""What only changed times can show, on every database: requests that are forgotten, conversations of one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sartor.store import Store
from sartor.store.schema import conversations, requests
from sqlalchemy import update

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.values import Reply

BEGAN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


async def test_a_request_is_remembered_for_a_day(store: Store) -> None:
    acme = store.tenant("acme")
    for name, hours in (("old", 25), ("young", 23)):
        await acme.claim("ann", name, "told", "t1")
        began = datetime.now(UTC) - timedelta(hours=hours)
        statement = update(requests).where(requests.c.key == name).values(created=began)
        await store._database.write(lambda connection, statement=statement: connection.execute(statement))  # type: ignore[misc]
    assert (await acme.claim("ann", "young", "told", "t2")).turn == "t1"
    assert (await acme.claim("ann", "old", "told", "t2")).turn == "t2"


async def test_pages_of_conversations_of_one_moment_leave_none_out(
    store: Store, make_reply: Callable[..., Reply]
) -> None:
    acme = store.tenant("acme")
    for at in range(9):
        await acme.commit(make_reply(conversation=f"c{at}"))
    # Some were updated at the very same time: then the id tells which comes first.
    together = update(conversations).where(conversations.c.id.in_(["c2", "c3", "c4", "c5"])).values(updated=BEGAN)
    await store._database.write(lambda connection: connection.execute(together))
    everything = [row.id for row in await acme.conversations("support", "ann", 100)]
    assert everything == ["c8", "c7", "c6", "c1", "c0", "c2", "c3", "c4", "c5"]
    for size in (1, 2, 4):
        seen: list[str] = []
        after = None
        while rows := await acme.conversations("support", "ann", size, after):
            seen += [row.id for row in rows]
            after = (rows[-1].updated, rows[-1].id)
        assert seen == everything
