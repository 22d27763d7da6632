"""What the service keeps: API keys, requests that may be repeated, feedback, responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sartor.errors import NamingError, StoreError
from sartor.store import Store
from sartor.testing.suites.store.base import StoreTests, with_store
from sartor.testing.suites.store.samples import BEGAN, sample_key, sample_reply

__all__ = ["ServiceTests"]


class ServiceTests(StoreTests):
    """Tests of keys, claims, feedback and responses."""

    @with_store
    async def test_a_key_is_found_by_its_id_and_tells_the_tenant(self, store: Store) -> None:
        await store.tenant("acme").add_key(sample_key(days=30))
        await store.tenant("globex").add_key(sample_key("k2", "globex"))
        assert await store.find_key("k1") == sample_key(days=30)
        assert await store.find_key("k2") == sample_key("k2", "globex")
        assert await store.find_key("k3") is None

    @with_store
    async def test_keys_are_listed_by_age(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert await acme.keys() == []
        for id_, hours in (("k3", 0), ("k1", 2), ("k2", 2)):
            await acme.add_key(sample_key(id_, created=BEGAN + timedelta(hours=hours)))
        assert [row.id for row in await acme.keys()] == ["k3", "k1", "k2"]

    @with_store
    async def test_a_key_of_another_tenant_is_not_stored_or_revoked(self, store: Store) -> None:
        acme, globex = store.tenant("acme"), store.tenant("globex")
        with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
            await acme.add_key(sample_key(tenant="globex"))
        await globex.add_key(sample_key(tenant="globex"))
        with pytest.raises(StoreError):
            await acme.add_key(sample_key())
        assert not await acme.revoke_key("k1")
        assert await store.find_key("k1") == sample_key(tenant="globex")

    @with_store
    async def test_a_revoked_key_is_told_as_one(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.add_key(sample_key())
        assert await acme.revoke_key("k1")
        [row] = await acme.keys()
        assert row.revoked is not None and row.revoked.utcoffset() == timedelta(0)
        assert not await acme.revoke_key("k1") and not await acme.revoke_key("unknown")
        assert await acme.keys() == [row] == [await store.find_key("k1")]

    @with_store
    async def test_the_first_claim_of_a_request_counts(self, store: Store) -> None:
        acme = store.tenant("acme")
        before = datetime.now(UTC)
        first = await acme.claim("ann", "request-1", "told", "t1")
        assert (first.turn, first.fingerprint) == ("t1", "told")
        assert before <= first.created <= datetime.now(UTC)
        assert await acme.claim("ann", "request-1", "told otherwise", "t2") == first
        for claimed in (acme.claim("bob", "request-1", "told", "t3"), acme.claim("ann", "request-2", "told", "t3")):
            assert (await claimed).turn == "t3"

    @with_store
    async def test_a_request_that_came_to_nothing_may_be_claimed_again(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.claim("ann", "request-1", "told", "t1")
        await acme.forget_request("ann", "request-1", "t2")
        await acme.forget_request("bob", "request-1", "t1")
        assert (await acme.claim("ann", "request-1", "told", "t3")).turn == "t1"
        await acme.forget_request("ann", "request-1", "t1")
        assert (await acme.claim("ann", "request-1", "told", "t3")).turn == "t3"

    @with_store
    async def test_feedback_replaces_what_was_said_before(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply(id="t1"))
        await acme.commit(sample_reply(id="t2"))
        assert await acme.feedback("t1") is None
        before = datetime.now(UTC)
        assert await acme.put_feedback("t1", 1, "Good.")
        assert await acme.put_feedback("t1", -1, "Bad.")
        found = await acme.feedback("t1")
        assert found is not None
        assert (found.score, found.comment) == (-1, "Bad.")
        assert before <= found.given <= datetime.now(UTC)
        assert await acme.feedback("t2") is None
        assert not await acme.put_feedback("unknown", 1, "Good.")

    @with_store
    async def test_a_response_is_found_with_those_that_led_to_it(self, store: Store) -> None:
        acme = store.tenant("acme")
        for turn, previous in (("t1", ""), ("t2", "t1"), ("aside", "t1"), ("t3", "t2")):
            await acme.commit(sample_reply(f"Question {turn}", id=turn))
            assert await acme.put_response(turn, previous, {"model": "acme/support", "metadata": {"a": "1"}})
        [found] = await acme.responses("t3")
        assert (found.turn.reply.turn.text, found.previous) == ("Question t3", "t2")
        assert found.told == {"model": "acme/support", "metadata": {"a": "1"}}
        assert [one.turn.reply.turn.id for one in await acme.responses("t3", 10)] == ["t3", "t2", "t1"]
        assert [one.turn.reply.turn.id for one in await acme.responses("t3", 2)] == ["t3", "t2"]

    @with_store
    async def test_a_turn_is_no_response_unless_it_was_asked_for_as_one(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply(id="t1"))
        assert await acme.responses("t1") == []
        assert not await acme.put_response("other", "", {})
        assert await acme.put_response("t1", "", {})
        assert await acme.forget_response("t1") and not await acme.forget_response("t1")
        assert await acme.responses("t1") == [] and await acme.reply("t1") is not None
