"""Documents, chunks and erasure on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sartor.errors import KnowledgeError, NamingError
from sartor.store import KeyRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sartor.store import Store
    from sartor.values import Chunk, Reply

    MakeChunks = Callable[..., list[Chunk]]


async def test_a_document_is_replaced_as_a_whole(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    first, second = make_chunks(3), make_chunks(1, text="New")
    before = datetime.now(UTC)
    assert await acme.put_document("support", "delivery.md", "aa", "Delivery", first) == []
    [row] = (await acme.documents("support")).values()
    assert (row.source, row.sha256, row.title, row.chunks) == ("delivery.md", "aa", "Delivery", 3)
    assert before <= row.ingested <= datetime.now(UTC)
    gone = await acme.put_document("support", "delivery.md", "bb", "Delivery 2", [first[1], *second])
    assert gone == [first[0].id, first[2].id]
    assert await acme.all_chunks("support") == [second[0], first[1]]
    [row] = (await acme.documents("support")).values()
    assert (row.sha256, row.title, row.chunks) == ("bb", "Delivery 2", 2)


async def test_a_document_is_removed(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    first, other = make_chunks(2), make_chunks(1, "other.md")
    await acme.put_document("support", "delivery.md", "aa", "Delivery", first)
    await acme.put_document("support", "other.md", "bb", "Other", other)
    assert await acme.remove_document("support", "delivery.md") == [chunk.id for chunk in first]
    assert await acme.remove_document("support", "delivery.md") == []
    assert list(await acme.documents("support")) == ["other.md"]
    assert await acme.all_chunks("support") == other


async def test_an_audience_is_listed_its_own_documents(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    made = [replace(chunk, audience="business") for chunk in make_chunks(2, "terms.md")]
    await acme.put_document("support", "terms.md", "aa", "Terms", made)
    await acme.put_document("support", "open.md", "bb", "Open", make_chunks(1, "open.md"))
    assert [list(await acme.documents("support", audience)) for audience in (None, "", "private", "business")] == [
        ["open.md", "terms.md"],
        ["open.md"],
        ["open.md"],
        ["open.md", "terms.md"],
    ]
    assert await store.tenant("globex").documents("support", "business") == {}


async def test_the_chunks_of_one_document_are_read_in_order(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    made = make_chunks(3)
    await acme.put_document("support", "delivery.md", "aa", "Delivery", made[::-1])
    await acme.put_document("support", "other.md", "bb", "Other", make_chunks(1, "other.md"))
    assert await acme.document_chunks("support", "delivery.md") == made
    assert await acme.document_chunks("support", "nothing.md") == []
    assert await acme.document_chunks("sales", "delivery.md") == []
    assert await store.tenant("globex").document_chunks("support", "delivery.md") == []


async def test_chunks_are_found_by_id(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    made = [replace(chunk, audience="business") for chunk in make_chunks(1200)]
    await acme.put_document("support", "delivery.md", "aa", "Delivery", made)
    assert await acme.chunks("support", []) == {}
    found = await acme.chunks("support", ["nobody's", made[7].id, made[3].id, made[7].id])
    assert list(found.items()) == [(made[7].id, made[7]), (made[3].id, made[3])]
    for count in (8, 9, 1200):  # a turn asks for few, by a statement of its own
        assert list((await acme.chunks("support", [chunk.id for chunk in made[:count]])).values()) == made[:count]
    for ids in ([made[0].id], [chunk.id for chunk in made]):
        assert await acme.chunks("sales", ids) == {}
        assert await store.tenant("globex").chunks("support", ids) == {}


async def test_an_empty_document_is_a_document(store: Store) -> None:
    acme = store.tenant("acme")
    assert await acme.put_document("support", "empty.md", "aa", "Empty", []) == []
    assert (await acme.documents("support"))["empty.md"].chunks == 0


async def test_what_belongs_elsewhere_is_refused(store: Store, make_chunks: MakeChunks) -> None:
    acme = store.tenant("acme")
    [chunk] = make_chunks(1)
    with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
        await acme.put_document("support", "delivery.md", "aa", "T", [replace(chunk, tenant="globex")])
    with pytest.raises(NamingError, match="bot 'sales', not of 'support'"):
        await acme.put_document("support", "delivery.md", "aa", "T", [replace(chunk, bot="sales")])
    with pytest.raises(KnowledgeError, match=r"2 chunks of .* have the id"):
        await acme.put_document("support", "delivery.md", "aa", "T", [chunk, chunk])
    await acme.put_document("support", "delivery.md", "aa", "T", [chunk])
    with pytest.raises(KnowledgeError, match="has the id of another document's"):
        await acme.put_document("support", "other.md", "bb", "T", [chunk])
    assert list(await acme.documents("support")) == ["delivery.md"]


async def test_erasing_takes_one_tenant_whole(
    store: Store, make_reply: Callable[..., Reply], make_chunks: MakeChunks
) -> None:
    acme, globex = store.tenant("acme"), store.tenant("globex")
    for tenant in (acme, globex):
        await tenant.commit(make_reply(tenant=tenant.tenant, id="t1"))
        await tenant.put_document("support", "delivery.md", "aa", "T", make_chunks(3, tenant=tenant.tenant))
        await tenant.put_feedback("t1", 1, "Good.")
        await tenant.put_response("t1", "", {"store": True})
        await tenant.claim("ann", "request-1", "fingerprint", "t1")
        await tenant.add_key(
            KeyRow(f"key-{tenant.tenant}", tenant.tenant, "", "digest", frozenset(), datetime.now(UTC))
        )
    gone = await acme.erase()
    assert gone == {
        "api_keys": 1,
        "requests": 1,
        "responses": 1,
        "feedback": 1,
        "verdicts": 0,
        "tool_uses": 0,
        "usage": 1,
        "turns": 1,
        "handovers": 0,
        "conversations": 1,
        "chunks": 3,
        "documents": 1,
        "tenants": 1,
    }
    assert await store.tenants() == ["globex"]
    assert await acme.history("support", "ann", "c1", 5) == []
    assert await acme.all_chunks("support") == []
    assert len(await globex.history("support", "ann", "c1", 5)) == 1
    assert len(await globex.all_chunks("support")) == 3
    assert await globex.feedback("t1") is not None
    assert [key.id for key in await globex.keys()] == ["key-globex"]
    assert await store.find_key("key-acme") is None
    assert not any((await acme.erase()).values())
    await acme.commit(make_reply())
