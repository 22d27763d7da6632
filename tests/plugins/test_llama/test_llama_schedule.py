"""Who waits for whom, over seconds: the engine's batcher on a machine whose batches take what was measured once."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.engine.report import p95
from benchmarks.schedule import (
    Asked,
    Filler,
    Scenario,
    Server,
    Simulation,
    at_once,
    at_random,
    batcher,
    neighbour,
    newcomer,
)


@pytest.fixture(params=[True, False], ids=["rooms", "shared"])
def rooms(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def told(rooms: bool, filler: Filler, scenario: Scenario, tenants: str = "") -> list[Asked]:
    return [one for one in Simulation(filler, scenario(), rooms=rooms).run().done if one.tenant.startswith(tenants)]


@pytest.mark.parametrize("others", [1, 15])
def test_a_newcomers_prompt_is_read_nearly_as_soon_as_where_all_stop_for_it(others: int, rooms: bool) -> None:
    (ours,), (theirs,) = (
        told(rooms, filler, newcomer(others), "newcomer") for filler in (batcher(rooms=rooms), Server(512))
    )
    assert ours.first < 1.2 * theirs.first
    assert max(one.gap for one in told(rooms, batcher(rooms=rooms), newcomer(others), "tenant")) < 0.5


def test_a_quiet_tenant_does_not_notice_a_hundred_requests(rooms: bool) -> None:
    alone = told(rooms, batcher(rooms=rooms), lambda: neighbour()[-1:])
    beside = told(rooms, batcher(rooms=rooms), neighbour, "quiet")
    assert len(alone) == len(beside) == 20
    for read in (lambda one: one.first, lambda one: one.whole):
        assert p95([read(one) for one in beside]) < 2.5 * p95([read(one) for one in alone])
    assert (
        max(one.whole for one in told(rooms, batcher(rooms=rooms), neighbour, "noisy")) < 21
    )  # who sends much is served all the same


@pytest.mark.parametrize(("prompt", "reply"), [(64, 48), (600, 100)])
def test_sixteen_at_once_take_hardly_longer_than_in_the_largest_batches(prompt: int, reply: int, rooms: bool) -> None:
    ours, theirs = (
        Simulation(filler, at_once(prompt, reply)(), rooms=rooms).run()
        for filler in (batcher(rooms=rooms), Server(512))
    )
    assert ours.seconds < 1.1 * theirs.seconds
    first = [statistics.mean(one.first for one in run.done) for run in (ours, theirs)]
    assert first[0] < 1.1 * first[1]
    assert max(one.gap for one in ours.done) < 0.6 * max(one.gap for one in theirs.done)


def test_tenants_who_come_and_go_wait_no_longer_for_a_first_token_nor_for_the_last(rooms: bool) -> None:
    ours, theirs = told(rooms, batcher(rooms=rooms), at_random), told(rooms, Server(512), at_random)
    assert len(ours) == len(theirs) == 200
    assert statistics.mean(one.first for one in ours) < 1.1 * statistics.mean(one.first for one in theirs)
    assert statistics.mean(one.whole for one in ours) < 1.05 * statistics.mean(one.whole for one in theirs)
