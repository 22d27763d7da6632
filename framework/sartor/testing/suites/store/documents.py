"""Documents and their chunks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sartor.errors import KnowledgeError, NamingError, StoreError
from sartor.store import Store
from sartor.store.inspection import contents
from sartor.testing.suites.base import run
from sartor.testing.suites.store.base import StoreTests, several, with_store
from sartor.testing.suites.store.samples import sample_chunks

__all__ = ["DocumentTests"]


class DocumentTests(StoreTests):
    """Tests of documents and chunks."""

    @with_store
    async def test_a_document_is_replaced_as_a_whole(self, store: Store) -> None:
        acme = store.tenant("acme")
        first, second = sample_chunks(3), sample_chunks(1, text="New")
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

    def test_a_document_that_cannot_be_stored_leaves_the_one_before(self, url: str) -> None:
        async def work() -> None:
            async with several(url, 1) as [store]:
                acme, made = store.tenant("acme"), sample_chunks(3)
                await acme.put_document("support", "other.md", "aa", "T", sample_chunks(1, "other.md"))
                await acme.put_document("support", "delivery.md", "aa", "T", made)
                before = await contents(url)
                with pytest.raises(KnowledgeError, match="has the id of another document's"):
                    taken = replace(made[0], id=sample_chunks(1, "other.md")[0].id)
                    await acme.put_document("support", "delivery.md", "bb", "New", [*sample_chunks(2, text="N"), taken])
                assert await contents(url) == before, "half of a document is stored"
                with pytest.raises(StoreError, match="cannot hold a value"):
                    await acme.put_document("support", "delivery.md", "bb", "New", [replace(made[0], position=2**70)])
                assert await contents(url) == before, "half of a document is stored"

        run(work())

    @with_store
    async def test_a_document_is_removed(self, store: Store) -> None:
        acme = store.tenant("acme")
        first, other = sample_chunks(2), sample_chunks(1, "other.md")
        await acme.put_document("support", "delivery.md", "aa", "Delivery", first)
        await acme.put_document("support", "other.md", "bb", "Other", other)
        assert await acme.remove_document("support", "delivery.md") == [chunk.id for chunk in first]
        assert await acme.remove_document("support", "delivery.md") == []
        assert list(await acme.documents("support")) == ["other.md"]
        assert await acme.all_chunks("support") == other

    @with_store
    async def test_an_audience_is_listed_its_own_documents(self, store: Store) -> None:
        acme = store.tenant("acme")
        made = [replace(chunk, audience="business") for chunk in sample_chunks(2, "terms.md")]
        await acme.put_document("support", "terms.md", "aa", "Terms", made)
        await acme.put_document("support", "open.md", "bb", "Open", sample_chunks(1, "open.md"))
        assert [list(await acme.documents("support", audience)) for audience in (None, "", "private", "business")] == [
            ["open.md", "terms.md"],
            ["open.md"],
            ["open.md"],
            ["open.md", "terms.md"],
        ]

    @with_store
    async def test_the_chunks_of_one_document_are_read_in_order(self, store: Store) -> None:
        acme = store.tenant("acme")
        made = sample_chunks(12)
        await acme.put_document("support", "delivery.md", "aa", "Delivery", made[::-1])
        await acme.put_document("support", "other.md", "bb", "Other", sample_chunks(1, "other.md"))
        assert await acme.document_chunks("support", "delivery.md") == made
        assert await acme.document_chunks("support", "nothing.md") == []
        assert await acme.document_chunks("sales", "delivery.md") == []

    @with_store
    async def test_chunks_are_found_by_id(self, store: Store) -> None:
        acme = store.tenant("acme")
        made = [replace(chunk, audience="business") for chunk in sample_chunks(1200)]
        await acme.put_document("support", "delivery.md", "aa", "Delivery", made)
        assert await acme.chunks("support", []) == {}
        found = await acme.chunks("support", ["nobody's", made[7].id, made[3].id, made[7].id])
        assert list(found.items()) == [(made[7].id, made[7]), (made[3].id, made[3])]
        for count in (8, 9, 1200):  # a turn asks for few, by a statement of its own
            assert list((await acme.chunks("support", [one.id for one in made[:count]])).values()) == made[:count]
        for ids in ([made[0].id], [chunk.id for chunk in made]):
            assert await acme.chunks("sales", ids) == {}

    @with_store
    async def test_an_empty_document_is_a_document(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert await acme.put_document("support", "empty.md", "aa", "Empty", []) == []
        assert (await acme.documents("support"))["empty.md"].chunks == 0

    @with_store
    async def test_what_belongs_elsewhere_is_refused(self, store: Store) -> None:
        acme = store.tenant("acme")
        [chunk] = sample_chunks(1)
        with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
            await acme.put_document("support", "delivery.md", "aa", "T", [replace(chunk, tenant="globex")])
        with pytest.raises(NamingError, match="bot 'sales', not of 'support'"):
            await acme.put_document("support", "delivery.md", "aa", "T", [replace(chunk, bot="sales")])
        with pytest.raises(KnowledgeError, match=r"2 chunks of .* have the id"):
            await acme.put_document("support", "delivery.md", "aa", "T", [chunk, chunk])
        assert await acme.documents("support") == {}
