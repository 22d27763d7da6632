"""What the service keeps, on every database: API keys, requests that may be repeated, feedback, pages of turns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sartor.errors import NamingError, StoreError
from sartor.store import KeyRow, Store
from sartor.store.schema import conversations, requests
from sqlalchemy import update

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.values import Reply

BEGAN = datetime(2026, 11, 25, 12, 0, tzinfo=timezone(timedelta(hours=1)))


def key(id_: str = "k1", tenant: str = "acme", **about: object) -> KeyRow:
    row = KeyRow(id_, tenant, "for the shop", f"digest of {id_}", frozenset({"read", "chat"}), BEGAN)
    return replace(row, **about)  # type: ignore[arg-type]


async def test_a_key_is_found_by_its_id_and_tells_the_tenant(store: Store) -> None:
    ends = BEGAN + timedelta(days=30)
    await store.tenant("acme").add_key(key(expires=ends))
    await store.tenant("globex").add_key(key("k2", "globex"))
    assert await store.find_key("k1") == key(expires=ends)
    found = await store.find_key("k2")
    assert found is not None
    assert (found.tenant, found.expires, found.revoked) == ("globex", None, None)
    assert await store.find_key("k3") is None


async def test_keys_are_listed_by_age_and_tenant(store: Store) -> None:
    acme = store.tenant("acme")
    assert await acme.keys() == []
    for id_, hours in (("k3", 0), ("k1", 2), ("k2", 2)):
        await acme.add_key(key(id_, created=BEGAN + timedelta(hours=hours)))
    await store.tenant("globex").add_key(key("k0", "globex"))
    assert [row.id for row in await acme.keys()] == ["k3", "k1", "k2"]


async def test_a_key_of_another_tenant_is_not_stored_or_revoked(store: Store) -> None:
    acme, globex = store.tenant("acme"), store.tenant("globex")
    with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
        await acme.add_key(key(tenant="globex"))
    await globex.add_key(key(tenant="globex"))
    with pytest.raises(StoreError):
        await acme.add_key(key())
    assert not await acme.revoke_key("k1")
    found = await store.find_key("k1")
    assert found == key(tenant="globex")


async def test_a_key_is_revoked_once(store: Store) -> None:
    acme = store.tenant("acme")
    await acme.add_key(key())
    assert sorted(await asyncio.gather(*(acme.revoke_key("k1") for _ in range(5)))) == [False] * 4 + [True]
    [row] = await acme.keys()
    assert row.revoked is not None
    assert row.revoked.utcoffset() == timedelta(0)
    assert not await acme.revoke_key("unknown")


@pytest.mark.parametrize("name", ["", "a\0b", "\ud83d", "é" * 300])
async def test_names_that_no_database_can_hold_are_refused(store: Store, name: str) -> None:
    acme = store.tenant("acme")
    for call in (
        lambda: acme.add_key(key(name)),
        lambda: acme.revoke_key(name),
        lambda: acme.claim(name, "request-1", "fingerprint", "t1"),
        lambda: acme.claim("ann", name, "fingerprint", "t1"),
        lambda: acme.claim("ann", "request-1", "fingerprint", name),
        lambda: acme.forget_request("ann", name, "t1"),
        lambda: acme.put_feedback(name, 1, ""),
        lambda: acme.feedback(name),
        lambda: acme.conversation(name),
        lambda: acme.turns(name, 1),
    ):
        with pytest.raises(NamingError, match="cannot be the name of a"):
            await call()
    assert await store.tenants() == []


async def test_the_first_claim_of_a_request_counts(store: Store) -> None:
    acme = store.tenant("acme")
    first = await acme.claim("ann", "request-1", "told", "t1")
    assert (first.turn, first.fingerprint) == ("t1", "told")
    assert abs(first.created - datetime.now(UTC)) < timedelta(minutes=1)
    assert await acme.claim("ann", "request-1", "told otherwise", "t2") == first
    for claimed in (
        acme.claim("bob", "request-1", "told", "t3"),
        acme.claim("ann", "request-2", "told", "t3"),
        store.tenant("globex").claim("ann", "request-1", "told", "t3"),
    ):
        assert (await claimed).turn == "t3"


async def test_a_request_is_claimed_by_one_of_many(url: str) -> None:
    stores = [await Store.open(url) for _ in range(3)]
    try:
        claims = [
            stores[at % 3].tenant("acme").claim("ann", f"request-{at // 15}", "told", f"t{at}") for at in range(45)
        ]
        rows = await asyncio.gather(*claims)
        for request in range(3):
            [turn] = {row.turn for row in rows[request * 15 : request * 15 + 15]}
            assert request * 15 <= int(turn[1:]) < request * 15 + 15
    finally:
        for store in stores:
            await store.close()


async def test_a_request_that_came_to_nothing_may_be_claimed_again(store: Store) -> None:
    acme = store.tenant("acme")
    await acme.claim("ann", "request-1", "told", "t1")
    await acme.forget_request("ann", "request-1", "t2")
    await store.tenant("globex").forget_request("ann", "request-1", "t1")
    await acme.forget_request("bob", "request-1", "t1")
    assert (await acme.claim("ann", "request-1", "told", "t3")).turn == "t1"
    await acme.forget_request("ann", "request-1", "t1")
    assert (await acme.claim("ann", "request-1", "told", "t3")).turn == "t3"


async def test_claiming_while_others_forget_always_gives_a_turn(url: str) -> None:
    stores = [await Store.open(url) for _ in range(2)]

    async def repeat(name: str, store: Store) -> None:
        acme = store.tenant("acme")
        for at in range(40):
            row = await acme.claim("ann", "request-1", "told", f"{name}-{at}")
            await acme.forget_request("ann", "request-1", row.turn)

    try:
        await asyncio.gather(*(repeat(f"{at}", stores[at % 2]) for at in range(6)))
    finally:
        for store in stores:
            await store.close()


async def test_a_request_is_remembered_for_a_day(store: Store) -> None:
    acme = store.tenant("acme")
    for name, hours in (("old", 25), ("young", 23)):
        await acme.claim("ann", name, "told", "t1")
        began = datetime.now(UTC) - timedelta(hours=hours)
        statement = update(requests).where(requests.c.key == name).values(created=began)
        await store._database.write(lambda connection, statement=statement: connection.execute(statement))  # type: ignore[misc]
    assert (await acme.claim("ann", "young", "told", "t2")).turn == "t1"
    assert (await acme.claim("ann", "old", "told", "t2")).turn == "t2"


async def test_feedback_replaces_what_was_said_before(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply(id="t1"))
    await acme.commit(make_reply(id="t2"))
    assert await acme.feedback("t1") is None
    assert await acme.put_feedback("t1", 1, "Good.")
    assert await acme.put_feedback("t1", -1, "Half a \ud83d, no\0 more")
    found = await acme.feedback("t1")
    assert found is not None
    assert (found.score, found.comment) == (-1, "Half a \ufffd, no\ufffd more")
    assert abs(found.given - datetime.now(UTC)) < timedelta(minutes=1)
    assert await acme.feedback("t2") is None


async def test_feedback_given_at_once_leaves_one(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply(id="t1"))
    assert all(await asyncio.gather(*(acme.put_feedback("t1", 1, f"Comment {at}") for at in range(10))))
    found = await acme.feedback("t1")
    assert found is not None
    assert found.comment.startswith("Comment ")


async def test_feedback_needs_a_turn_of_the_tenant(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme, globex = store.tenant("acme"), store.tenant("globex")
    await globex.commit(make_reply(tenant="globex", id="t1"))
    assert not await acme.put_feedback("t1", 1, "Ours?")
    assert await globex.feedback("t1") is None
    await globex.put_feedback("t1", 1, "Ours.")
    assert await acme.feedback("t1") is None


async def test_a_conversation_by_its_id(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    await acme.commit(make_reply())
    await acme.commit(make_reply())
    row = await acme.conversation("c1")
    assert row is not None
    assert (row.id, row.bot, row.user, row.turns) == ("c1", "support", "ann", 2)
    assert await acme.conversation("c2") is None
    assert await store.tenant("globex").conversation("c1") is None


async def test_pages_of_conversations_leave_none_out(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    for at in range(9):
        await acme.commit(make_reply(conversation=f"c{at}"))
    await acme.commit(make_reply(conversation="bobs", user="bob"))
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


async def test_pages_of_turns_oldest_first(store: Store, make_reply: Callable[..., Reply]) -> None:
    acme = store.tenant("acme")
    for at in range(5):
        await acme.commit(make_reply(f"Question {at}", id=f"t{at}"))
    await acme.commit(make_reply(conversation="c2"))
    await store.tenant("globex").commit(make_reply(tenant="globex"))
    assert [(one.reply.turn.id, one.number) for one in await acme.turns("c1", 3)] == [("t0", 1), ("t1", 2), ("t2", 3)]
    assert [one.reply.turn.id for one in await acme.turns("c1", 3, 3)] == ["t3", "t4"]
    assert await acme.turns("c1", 3, 5) == await acme.turns("c1", 0) == await acme.turns("unknown", 3) == []
    assert (await acme.turns("c1", 1))[0] == await acme.reply("t0")
