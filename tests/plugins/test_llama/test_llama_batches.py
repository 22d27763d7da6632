"""What goes into a batch: whose tokens, how many, and how fast they are together. No model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from sartor_plugins.llama.engine.batches import Batcher
from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job, SyncOutbox
from sartor_plugins.llama.engine.memory import Seat
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.runs import Run, Share
from sartor_plugins.llama.engine.track import COMPUTE, Fork, Track

CURVE = {1: 5.0, 2: 14.0, 3: 17.0, 4: 20.0, 8: 25.0, 12: 30.0, 13: 36.0, 15: 37.0, 16: 28.0, 17: 32.0}
"""Milliseconds by tokens, as a CPU has them."""


def batcher(curve: dict[int, float] = CURVE) -> Batcher:
    made = Batcher(512, 512, 0.05)
    for tokens, milliseconds in curve.items():
        made.pace.note(tokens, milliseconds / 1000)
    made.pace.note(100, 0.1, written=0)
    return made


def run(tenant: str, pending: int = 1, *, read: int = 40, adapter: str = "") -> Run[Any, Any]:
    """A reply of `tenant` that has `pending` tokens to compute behind `read` ones."""
    prompt = [*range(1000, 1000 + read + pending)]
    track = Track(prompt, 4096, read)
    seat = Seat(0, Scope(tenant), prompt, 0, read, read)
    job: Job[Any, Any] = Job(None, SyncOutbox(), tenant=tenant, adapter=adapter)
    return Run(job, seat, track, (_ for _ in ()), Drafter(0), COMPUTE)


def batches(filler: Batcher, runs: list[Run[Any, Any]], count: int) -> Iterator[list[Share[Any, Any]]]:
    """The next batches; what is written stays one pending token, what is read gets less."""
    for step in range(1, count + 1):
        shares = filler.fill(runs)
        written = sum(share.count for share in shares if share.run.writes)
        read = sum(share.count for share in shares) - written
        filler.note(shares, 0, (read + 2 * written) / 1000 if read else filler.pace.padded(written) or 0.02)
        for share in shares:
            share.run.step = step
            filler.charge(share)
            share.run.track.computed(share.count)
            share.run.track.pending = share.run.track.pending or [7]
        yield shares


def by_tenant(shares: list[Share[Any, Any]]) -> dict[str, int]:
    told: dict[str, int] = {}
    for share in shares:
        told[share.run.job.tenant] = told.get(share.run.job.tenant, 0) + share.count
    return told


@pytest.mark.parametrize(("replies", "together"), [(1, 1), (2, 1), (3, 1), (13, 13), (16, 16), (17, 16)])
def test_as_many_replies_go_along_as_give_most_tokens_a_second(replies: int, together: int) -> None:
    runs = [run("acme") for _ in range(replies)]
    told = list(batches(batcher(), runs, 30))
    assert {len(shares) for shares in told} == {together}
    counted = [sum(share.run is one for shares in told for share in shares) for one in runs]
    assert max(counted) - min(counted) <= 1  # nobody is left out for long


def test_now_and_then_all_go_along_to_see_whether_that_still_is_slower() -> None:
    told = [len(shares) for shares in batches(batcher(), [run("acme"), run("acme")], 100)]
    assert 1 < told.count(2) < 5
    changed = batcher()
    for _ in range(20):
        changed.pace.note(2, 0.006)
    assert next(batches(changed, [run("acme"), run("acme")], 1))[1:]


def test_sixteen_tenants_with_one_reply_each_are_written_together_whoever_has_had_more() -> None:
    filler, runs = batcher(), [run(f"tenant-{number}") for number in range(16)]
    for number, shares in enumerate(batches(filler, runs, 30)):
        assert len(shares) == 16
        filler.shares.charge(f"tenant-{number % 16}", 20)  # a draft of this one, say


def test_who_has_many_replies_does_not_ride_on_a_quiet_tenants_batches() -> None:
    filler = batcher()
    filler.shares.turn({"noisy": 1})
    filler.shares.charge("noisy", 64)
    runs = [run("quiet"), *(run("noisy") for _ in range(16))]
    told = [by_tenant(shares) for shares in batches(filler, runs, 200)]
    assert told[:40] == [{"quiet": 1}] * 40  # until what is forgiven is used up
    written = {tenant: sum(one.get(tenant, 0) for one in told[60:]) for tenant in ("quiet", "noisy")}
    assert written["noisy"] / written["quiet"] == pytest.approx(1, rel=0.3)  # in the long run it is even


def test_a_newcomers_prompt_is_read_at_once_and_alone() -> None:
    filler = batcher()
    noisy = [run("noisy", 64) for _ in range(4)] + [run("noisy") for _ in range(12)]
    for _ in batches(filler, noisy, 5):
        pass
    runs = [*noisy, run("quiet", 64)]
    assert by_tenant(filler.fill(runs)) == {"quiet": 64}


def test_a_long_prompt_is_read_ahead_of_fifteen_replies_which_never_stand_still_for_long() -> None:
    filler, writers = batcher(), [run(f"tenant-{number}") for number in range(15)]
    for _ in batches(filler, writers, 60):
        pass
    newcomer, began = run("new", 500), filler.busy
    shown = {one: filler.busy for one in writers}
    for shares in batches(filler, [*writers, newcomer], 500):
        for one in (share.run for share in shares if share.run in shown):
            assert filler.busy - shown[one] < 0.3
            shown[one] = filler.busy
        if newcomer.writes:
            break
    assert filler.busy - began < 2 * 0.5  # in turn, token by token, it would take 16 times 0.5 seconds


def test_prompts_that_come_at_once_are_read_before_their_replies_go_on() -> None:
    filler, runs = batcher(), [run(f"tenant-{number}", 64) for number in range(16)]
    written = 0
    for shares in batches(filler, runs, 100):
        if all(one.writes for one in runs):
            break
        written += sum(share.run.writes for share in shares)
    assert filler.busy < 1.1 * 16 * 0.064 + 2 * written / 1000
    assert 0 < written < 80  # 16 replies beside each of 16 prompts would be 120
    assert len(filler.fill(runs)) == 16


def test_few_replies_go_along_while_a_prompt_is_read_since_it_is_cheaper_so() -> None:
    runs = [run("a"), run("b"), run("new", 300)]
    read = [len(shares) for shares in batches(batcher(), runs, 10) if not all(share.run.writes for share in shares)]
    assert len(read) < 6 and set(read) == {3}


def test_replies_have_batches_of_their_own_where_they_are_dear_beside_prompts() -> None:
    filler = batcher()
    for _ in range(9):
        filler.pace.note(64 + 8, 0.064 + 8 * 0.02, written=8)  # 20 ms for each of them
    runs = [*(run(f"tenant-{number}") for number in range(4)), *(run(f"new-{number}", 300) for number in range(3))]
    told = [{share.count > 1 for share in shares} for shares in batches(filler, runs, 12)]
    assert {True} in told and {False} in told and {True, False} not in told


def test_who_asks_for_many_replies_at_once_has_little_credit_beside_others() -> None:
    filler = batcher()
    noisy, quiet = [run("noisy", 64) for _ in range(16)], run("quiet", 300)
    for shares in batches(filler, noisy, 5):
        assert all(share.lent for share in shares if share.count > 1)
    told = [share for shares in batches(filler, [*noisy, quiet], 300) for share in shares if share.count > 1]
    assert all(share.lent == (share.run is quiet) for share in told)
    assert {share.run is quiet for share in told} == {True, False}
    filler = batcher()
    several = [run("busy", 300) for _ in range(6)]
    told = [share for shares in batches(filler, [*several, run("quiet")], 20) for share in shares if share.count > 1]
    assert all(share.lent for share in told)


def test_a_batch_that_reads_ends_in_time_but_for_the_rest_of_a_prompt() -> None:
    slow, other = batcher(), batcher()
    slow.seconds = other.seconds = 0.1
    told = [by_tenant(shares)["acme"] for shares in batches(slow, [run("acme", 240), run("acme")], 3)]
    assert told == [100 - 2 + 1, 142 + 1, 1]
    both = [by_tenant(shares) for shares in batches(other, [run("acme", 300), *(run("acme") for _ in range(8))], 1)]
    assert both == [{"acme": 100 - 2 * 8 + 8}]


def test_a_batch_that_reads_is_never_so_small_that_it_is_waste() -> None:
    long, other = run("acme", 240), run("acme")
    assert by_tenant(next(batches(batcher(), [long, other], 1))) == {"acme": 64}


def test_the_only_prompt_is_read_in_longer_stretches() -> None:
    told = [by_tenant(shares)["acme"] for shares in batches(batcher(), [run("acme", 800)], 3)]
    assert told == [250, 250, 300]


def test_padding_is_added_where_it_makes_a_batch_faster() -> None:
    filler = batcher()
    assert [filler.padding(filler.fill([run("acme") for _ in range(count)])) for count in (1, 13, 15, 16)] == [
        0,
        3,
        1,
        0,
    ]
    assert filler.padding(filler.fill([run("acme", 13)])) == 0  # a prompt is read: another routine


def test_replies_with_different_adapters_never_share_a_batch() -> None:
    runs = [run("acme", adapter="acme"), run("lark", adapter="lark"), run("lark", adapter="lark")]
    for shares in batches(batcher(), runs, 9):
        assert len({share.run.job.adapter for share in shares}) == 1


@pytest.mark.parametrize("seed", range(30))
def test_every_batch_has_something_and_every_tenant_comes_to_its_turn(seed: int) -> None:
    chance, filler = random.Random(seed), batcher()
    filler.pace.dearer = chance.uniform(0.5, 30)
    asked = range(chance.randint(1, 10))
    sizes = [chance.choice([1, chance.randint(5, 600)]) for _ in asked]
    runs = [run(chance.choice("abcd"), size, adapter=chance.choice(["", "", "x"])) for size in sizes]
    last = dict.fromkeys((one.job.tenant for one in runs), 0)
    for step, shares in enumerate(batches(filler, runs, 500)):
        assert shares
        last |= {share.run.job.tenant: step for share in shares}
        assert step - min(last.values()) < 200


def test_a_fork_has_a_batch_of_its_own() -> None:
    filler, fork = batcher(), run("acme")
    fork.need = Fork(1, [], lambda _at, _row: None)
    assert filler.fill([fork]) == []
    assert filler.fork([run("acme"), fork]) is fork


def test_with_rooms_what_is_read_is_of_equal_length_and_never_beside_what_is_written() -> None:
    filler = Batcher(512, 512, 0.05, rooms=True)
    filler.pace.note(100, 0.1, written=0)
    filler.pace.note(1, 0.005)
    readers = [run(f"reader{number}", pending) for number, pending in enumerate([60, 57, 20, 64, 200, 300])]
    writers = [run(f"writer{number}") for number in range(3)]
    runs, together = [*writers, *readers], 0
    for step in range(1, 60):
        shares = filler.fill(runs)
        assert len({share.run.writes for share in shares}) == 1
        counts = [share.count for share in shares]
        assert max(counts) - min(counts) <= 8
        together += len(counts) > 1 and filler.reads(shares)
        filler.note(shares, 0, sum(counts) / 1000)
        for share in shares:
            share.run.step = step
            filler.charge(share)
            share.run.track.computed(share.count)
            share.run.track.pending = share.run.track.pending or [7]
    assert together
    assert all(one.writes for one in runs)


@pytest.mark.parametrize(("eight", "drafted"), [(25.0, 8), (60.0, 0)])
def test_with_rooms_a_draft_beside_others_pays_where_it_does_as_a_batch_of_its_own(eight: float, drafted: int) -> None:
    filler = Batcher(512, 512, 0.05, rooms=True)
    for tokens, milliseconds in {1: 20.0, 4: 20.0, 8: eight, 12: 80.0, 16: 200.0}.items():
        filler.pace.note(tokens, milliseconds / 1000)
    drafting, *others = [run(f"tenant{number}") for number in range(4)]
    drafting.track.past = [*range(50), *range(50)][:80]
    drafting.track.pending = [30]
    drafting.drafter = Drafter(16)
    for _ in range(8):
        drafting.drafter.learn(16, 16)
    shares = filler.fill([drafting, *others])
    assert len(shares) == 4
    assert {share.run: len(share.draft) for share in shares}[drafting] == drafted
    known = filler.pace.seconds(4 + drafted)
    filler.note(shares, filler.padding(shares), 10.0)
    assert (filler.pace.seconds(4 + drafted) == known) is bool(drafted)  # no size of a batch that was one
