"""Many at once, in one process and in several: nothing is lost, nothing is there twice, nothing is half there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sartor.errors import StoreError
from sartor.store import Store
from sartor.store.inspection import contents, migrate_from_the_start
from sartor.testing.suites.base import run
from sartor.testing.suites.store.base import StoreTests, several, with_store
from sartor.testing.suites.store.samples import SPENT, fill, sample_chunks, sample_handover, sample_key, sample_reply
from sartor.values import Usage

__all__ = ["WriterTests"]

_PROCESSES = 3


async def _all_numbers(store: Store, conversation: str) -> Sequence[int]:
    return [turn.number for turn in await store.tenant("acme").turns(conversation, 1000)]


class WriterTests(StoreTests):
    """Tests of what happens at the same time, and of opening what is there already."""

    @with_store
    async def test_turns_that_end_at_once_are_numbered_without_gaps(self, store: Store) -> None:
        acme = store.tenant("acme")
        await asyncio.gather(*(acme.commit(sample_reply(conversation=f"c{number % 2}")) for number in range(20)))
        for conversation in ("c0", "c1"):
            assert await _all_numbers(store, conversation) == list(range(1, 11))

    def test_several_who_write_at_once_lose_nothing(self, url: str) -> None:
        async def work() -> None:
            async with several(url, _PROCESSES) as stores:
                replies = [sample_reply(conversation=f"c{number % 4}") for number in range(60)]
                ours = [store.tenant("acme") for store in stores]
                await asyncio.gather(*(ours[at % len(ours)].commit(reply) for at, reply in enumerate(replies)))
                for conversation in ("c0", "c1", "c2", "c3"):
                    assert await _all_numbers(stores[0], conversation) == list(range(1, 16))
                assert None not in [await ours[0].reply(reply.turn.id) for reply in replies]
                assert await ours[0].usage() == Usage(6000, 2400, 600, 60)

        run(work())

    def test_a_turn_that_is_committed_by_many_is_there_once(self, url: str) -> None:
        async def work() -> None:
            async with several(url, _PROCESSES) as stores:
                commits = [
                    stores[at % len(stores)].tenant("acme").commit(sample_reply(id="t1", conversation=f"c{at}"))
                    for at in range(9)
                ]
                done = await asyncio.gather(*commits, return_exceptions=True)
                failed = [result for result in done if result is not None]
                assert len(failed) == 8 and all(isinstance(error, StoreError) for error in failed), failed
                acme = stores[0].tenant("acme")
                assert await acme.usage() == SPENT
                assert [row.turns for row in await acme.conversations("support", "ann", 20)] == [1]

        run(work())

    @pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
    def test_a_cancelled_commit_is_whole_or_not_at_all(self, url: str, steps: int) -> None:
        async def work() -> None:
            replies = [replace(sample_reply(), handover=sample_handover(), standing={"at": at}) for at in range(6)]
            async with await Store.open(url) as store:
                commits = [asyncio.ensure_future(store.tenant("acme").commit(reply)) for reply in replies]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for commit in commits:
                    commit.cancel()
                await asyncio.gather(*commits, return_exceptions=True)
            async with await Store.open(url) as store:
                acme = store.tenant("acme")
                stored = [reply for reply in replies if await acme.reply(reply.turn.id) is not None]
                assert (await acme.usage()).calls == len(stored)
                assert await _all_numbers(store, "c1") == list(range(1, len(stored) + 1))
                rows = await contents(url)
                assert len(rows["handovers"]) == min(1, len(stored)) == len(rows["conversations"])

        run(work())

    def test_closing_waits_for_what_has_begun(self, url: str) -> None:
        async def work() -> None:
            store = await Store.open(url)
            acme = store.tenant("acme")
            commits = [asyncio.ensure_future(acme.commit(sample_reply())) for _ in range(10)]
            await asyncio.sleep(0)
            await store.close()
            await store.close()
            await asyncio.gather(*commits)
            with pytest.raises(StoreError, match="was closed"):
                await store.tenants()
            async with await Store.open(url) as again:
                assert await again.tenant("acme").usage() == Usage(1000, 400, 100, 10)

        run(work())

    def test_one_of_many_changes_where_flows_stand(self, url: str) -> None:
        async def work() -> None:
            async with several(url, _PROCESSES) as stores:
                ours = [store.tenant("acme") for store in stores]
                await ours[0].commit(sample_reply())
                changes = [
                    ours[at % len(ours)].exchange_standing("support", "ann", "c1", old=None, new={"by": at})
                    for at in range(9)
                ]
                done = await asyncio.gather(*changes)
                assert sum(done) == 1
                assert await ours[0].standing("support", "ann", "c1") == {"by": done.index(True)}

        run(work())

    def test_a_request_is_claimed_by_one_of_many(self, url: str) -> None:
        async def work() -> None:
            async with several(url, _PROCESSES) as stores:
                claims = [
                    stores[at % 3].tenant("acme").claim("ann", f"request-{at // 15}", "told", f"t{at}")
                    for at in range(45)
                ]
                rows = await asyncio.gather(*claims)
                for request in range(3):
                    turns = {row.turn for row in rows[request * 15 : request * 15 + 15]}
                    assert len(turns) == 1, f"one request is answered by {len(turns)} turns"
                    assert request * 15 <= int(turns.pop()[1:]) < request * 15 + 15

        run(work())

    def test_claiming_while_others_forget_always_gives_a_turn(self, url: str) -> None:
        async def repeat(name: str, store: Store) -> None:
            acme = store.tenant("acme")
            for at in range(30):
                row = await acme.claim("ann", "request-1", "told", f"{name}-{at}")
                assert row.turn
                await acme.forget_request("ann", "request-1", row.turn)

        async def work() -> None:
            async with several(url, 2) as stores:
                await asyncio.gather(*(repeat(f"{at}", stores[at % 2]) for at in range(6)))

        run(work())

    @with_store
    async def test_a_key_is_revoked_once(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.add_key(sample_key())
        assert sorted(await asyncio.gather(*(acme.revoke_key("k1") for _ in range(5)))) == [False] * 4 + [True]

    @with_store
    async def test_feedback_given_at_once_leaves_one(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply(id="t1"))
        assert all(await asyncio.gather(*(acme.put_feedback("t1", 1, f"Comment {at}") for at in range(10))))
        found = await acme.feedback("t1")
        assert found is not None and found.comment.startswith("Comment ")

    def test_a_document_that_many_replace_is_one_of_theirs(self, url: str) -> None:
        async def work() -> None:
            async with several(url, _PROCESSES) as stores:
                made = {f"v{at}": sample_chunks(at + 1, text=f"v{at}") for at in range(9)}
                puts = [
                    stores[at % 3].tenant("acme").put_document("support", "delivery.md", version, version, chunks)
                    for at, (version, chunks) in enumerate(made.items())
                ]
                await asyncio.gather(*puts)
                acme = stores[0].tenant("acme")
                [row] = (await acme.documents("support")).values()
                assert row.title == row.sha256 and row.chunks == len(made[row.sha256])
                assert await acme.all_chunks("support") == made[row.sha256]

        run(work())

    @with_store
    async def test_erasing_while_turns_are_committed(self, store: Store) -> None:
        acme = store.tenant("acme")
        replies = [sample_reply(conversation=f"c{number}") for number in range(30)]
        done = await asyncio.gather(
            *(acme.commit(reply) for reply in replies[:15]),
            acme.erase(),
            *(acme.commit(reply) for reply in replies[15:]),
            return_exceptions=True,
        )
        failed = [result for result in done if isinstance(result, BaseException)]
        assert all(isinstance(error, StoreError) and "being erased" in str(error) for error in failed), failed
        kept = [await acme.reply(reply.turn.id) for reply in replies]
        assert (await acme.usage()).calls == sum(turn is not None for turn in kept)

    def test_several_may_open_an_empty_database_at_once(self, url: str) -> None:
        async def work() -> None:
            stores = await asyncio.gather(*(Store.open(url) for _ in range(4)))
            await asyncio.gather(*(store.tenant("acme").commit(sample_reply()) for store in stores))
            assert await _all_numbers(stores[0], "c1") == [1, 2, 3, 4]
            for store in stores:
                await store.close()

        run(work())

    def test_opening_and_migrating_again_change_nothing(self, url: str) -> None:
        async def work() -> None:
            await migrate_from_the_start(url)
            async with several(url, 1) as [store]:
                await fill(store.tenant("acme"))
            before = await contents(url)
            assert all(before.values()), "the migrations make a table that the sample of a tenant does not know"
            for _ in range(2):
                await migrate_from_the_start(url)
                async with several(url, 2) as stores:
                    await stores[0].reach()
                    assert len(await stores[1].tenant("acme").turns("c1", 5)) == 1
            assert await contents(url) == before

        run(work())
