"""What PostgreSQL alone must keep: its connections, and its locks between rows."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sartor.errors import StoreError, UsageError
from sartor.store import Store
from sartor.values import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sartor.values import Reply

    MakeReply = Callable[..., Reply]

DROP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sartor'"


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[Any]:
    """A connection of somebody else's."""
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def test_a_cancelled_commit_is_finished(store: Store, other: Any, make_reply: MakeReply) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    reply = make_reply()
    async with other.transaction():
        await other.execute("SELECT * FROM conversations FOR UPDATE")
        commit = asyncio.ensure_future(acme.commit(reply))
        await asyncio.sleep(0.2)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        assert await acme.reply(reply.turn.id) is None
    await acme.commit(make_reply())
    stored = await acme.reply(reply.turn.id)
    assert stored is not None
    assert stored.number == 2
    assert await acme.usage() == Usage(300, 120, 30, 3)


async def test_a_dropped_connection_is_replaced(store: Store, other: Any, make_reply: MakeReply) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    await other.execute(DROP)
    await acme.commit(make_reply())
    assert len(await acme.history("support", "ann", "c1", 5)) == 2


async def test_a_connection_that_drops_in_the_middle(store: Store, other: Any, make_reply: MakeReply) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    async with other.transaction():
        await other.execute("SELECT * FROM conversations FOR UPDATE")
        commit = asyncio.ensure_future(acme.commit(make_reply()))
        await asyncio.sleep(0.2)
        await other.execute(DROP)
        with pytest.raises(StoreError, match="cannot be reached"):
            await commit
    assert len(await acme.history("support", "ann", "c1", 5)) == 1


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "sartor.store.postgres", raising=False)
    with pytest.raises(UsageError, match="asyncpg is not installed") as caught:
        await Store.open("postgresql://user@host/database")
    assert "sartor[postgres]" in str(caught.value)
