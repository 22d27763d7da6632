"""The parts of the engine that keep account: prefixes, shares, queue, attic, pace and drafts. No model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.errors import OverloadedError
from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job, SyncOutbox
from sartor_plugins.llama.engine.pace import Pace
from sartor_plugins.llama.engine.prefixes import Prefixes, Scope
from sartor_plugins.llama.engine.queue import Waiting
from sartor_plugins.llama.engine.shares import Shares
from sartor_plugins.llama.engine.track import COMPUTE, Track

ACME, LARK = Scope("acme"), Scope("lark")
TOKENS = st.lists(st.integers(0, 2), max_size=12)


# Prefixes


def common(left: list[int], right: list[int]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def cells_of(kept: dict[int, tuple[Scope, list[int]]]) -> int:
    return len({(scope, tuple(tokens[: at + 1])) for scope, tokens in kept.values() for at in range(len(tokens))})


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([ACME, LARK, Scope("acme", "lora")]), TOKENS), max_size=30),
    TOKENS,
)
def test_prefixes_keep_account_like_a_plain_list(steps: list[tuple[int, Scope, list[int]]], asked: list[int]) -> None:
    prefixes = Prefixes(1000)
    plain: dict[int, tuple[Scope, list[int]]] = {}
    for number, scope, tokens in steps:
        if number in plain and len(tokens) % 3 == 0:
            prefixes.drop(number)
            del plain[number]
        else:
            prefixes.hold(number, scope, tokens, running=False)
            plain[number] = (scope, tokens)
        assert prefixes.taken == cells_of(plain)
    for scope in (ACME, LARK, Scope("acme", "lora"), Scope("nobody")):
        lengths = {n: common(tokens, asked) for n, (owner, tokens) in plain.items() if owner == scope}
        assert dict(prefixes.longest(scope, asked)) == {n: length for n, length in lengths.items() if length}
        assert prefixes.shared(scope, asked) == max(lengths.values(), default=0)
    for number, (scope, tokens) in plain.items():
        inside = {n for n, (owner, other) in plain.items() if n != number and owner == scope and other}
        inside = {n for n in inside if plain[n][1] == tokens[: len(plain[n][1])]}
        assert set(prefixes.covered(number)) == inside


def test_who_is_above_its_share_gives_up_its_oldest() -> None:
    prefixes = Prefixes(100)
    for number in range(6):
        prefixes.hold(number, ACME, [number, *range(9)], running=False)
    prefixes.hold(6, LARK, [*range(30)], running=False)
    prefixes.touch(0)
    for need in (20, 60):
        assert prefixes.victim("lark", need).number == 1  # type: ignore[union-attr]
    assert prefixes.victim("acme", 10).number == 1  # type: ignore[union-attr]
    assert prefixes.victim("acme", 10, keep=1).number == 2  # type: ignore[union-attr]
    prefixes.drop(1)
    prefixes.drop(2)
    assert prefixes.victim("lark", 60).number == 6  # type: ignore[union-attr]


def test_what_is_within_a_share_is_given_up_only_for_a_request_that_would_never_fit() -> None:
    prefixes = Prefixes(100)
    prefixes.hold(0, LARK, [*range(40)], running=False)
    prefixes.hold(1, ACME, [*range(40)], running=True)
    assert prefixes.victim("acme", 30) is None  # acme's own reply will end
    prefixes.drop(1)
    assert prefixes.victim("acme", 90).number == 0  # type: ignore[union-attr]


def test_the_little_end_of_a_branch_stays_as_long_as_what_it_branches_off_from_runs() -> None:
    prefixes, scope = Prefixes(9000), Scope("acme")
    said = [*range(400)]
    prefixes.hold(0, scope, [*said, *range(1000, 1040)], running=False)
    prefixes.hold(1, scope, [*said, *range(2000, 2100)], running=True)
    assert prefixes.idle == 0 and prefixes.oldest() is None
    prefixes.hold(2, scope, [*said, *range(3000, 3100)], running=False)
    assert prefixes.idle == 100 and prefixes.oldest().number == 2  # type: ignore[union-attr]
    prefixes.hold(1, scope, [*said, *range(2000, 2100)], running=False)
    kept = prefixes.oldest()
    assert kept is not None and kept.number == 0 and prefixes.own(kept) == 40


# Shares


def served(steps: int, wants: dict[str, int], weights: dict[str, float]) -> dict[str, int]:
    """Tokens by tenant after `steps`, where each computes what it wants when it is its turn."""
    shares, got = Shares(64), dict.fromkeys(wants, 0)
    for _ in range(steps):
        for tenant in shares.turn(weights):
            shares.charge(tenant, wants[tenant])
            got[tenant] += wants[tenant]
    return got


def test_tokens_are_shared_by_weight_whatever_is_wanted() -> None:
    got = served(4000, {"noisy": 512, "quiet": 1, "gold": 16}, {"noisy": 1, "quiet": 1, "gold": 3})
    assert got["noisy"] / got["quiet"] == pytest.approx(1, rel=0.2)
    assert got["gold"] / got["quiet"] == pytest.approx(3, rel=0.2)


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.integers(1, 300)), max_size=60))
def test_somebody_can_always_compute_and_always_something(steps: list[tuple[set[str], int]]) -> None:
    shares = Shares()
    for working, tokens in steps:
        turn = shares.turn(dict.fromkeys(working, 0.5))
        assert turn <= working
        assert bool(turn) == bool(working)
        for tenant in turn:
            assert 0 < shares.left(tenant) <= 64
            shares.charge(tenant, tokens)


def test_nobody_saves_up_while_it_has_nothing_to_do() -> None:
    shares = Shares(quantum=100, slack=0, forgiven=8)
    for _ in range(100):
        assert shares.turn({"a": 1}) == {"a"}
        shares.charge("a", 500)
    assert shares.turn({"a": 1, "b": 1}) == {"b"}  # it comes anew, and is ahead by what is forgiven
    shares.charge("b", 8)
    assert shares.turn({"a": 1, "b": 1}) == {"a", "b"}


def test_who_comes_right_behind_another_is_forgiven_no_more_than_that_one() -> None:
    shares = Shares(quantum=128, slack=16, forgiven=64)
    shares.turn({"old": 1})
    shares.charge("old", 1000)
    present = {"old": 1.0}
    for number in range(5):
        present[f"new{number}"] = 1.0
        shares.turn(present)
    assert shares.turn(present) == {f"new{number}" for number in range(5)}
    assert {shares.had("old") - shares.had(f"new{number}") for number in range(5)} == {64}


def test_what_was_had_beyond_a_share_is_remembered_but_for_a_little() -> None:
    shares = Shares(quantum=1000, slack=0, forgiven=8)
    shares.turn({"a": 1, "b": 1})
    shares.charge("b", 100)
    assert shares.turn({"a": 1}) == {"a"}
    assert shares.turn({"a": 1, "b": 1}) == {"a"}
    assert shares.had("b") - shares.had("a") == 92
    shares.clear()
    assert shares.turn({"a": 1, "b": 1}) == {"a", "b"}


def test_prompts_are_read_on_credit_which_comes_back_while_others_are_served() -> None:
    shares = Shares(credit=1000)
    shares.turn({"a": 1, "b": 1})
    shares.lend("a", 600)
    assert (shares.had("a"), shares.credit("a"), shares.credit("b")) == (shares.had("b"), 400, 1000)
    shares.lend("a", 500)  # more than there is: the rest is charged
    assert (shares.had("a") - shares.had("b"), shares.credit("a")) == (100, 0)
    shares.charge("b", 300)
    shares.turn({"a": 1, "b": 1})
    assert shares.credit("a") == 0  # who has work gets none
    shares.turn({"b": 1})
    shares.charge("b", 250)
    shares.turn({"a": 1, "b": 1})
    assert shares.credit("a") == 250
    shares.turn({"b": 1})
    shares.charge("b", 5000)
    shares.turn({"b": 1})
    shares.turn({"a": 1, "b": 1})
    assert shares.credit("a") == 1000  # and never more


def test_credit_is_by_weight() -> None:
    shares = Shares(credit=1000)
    shares.turn({"gold": 3.0, "b": 1.0})
    assert shares.credit("gold") == 3000
    shares.lend("gold", 1500)
    assert shares.credit("gold") == 1500


# The queue


def job(tenant: str) -> Job[None, None]:
    return Job(None, SyncOutbox(), tenant=tenant)


def test_a_flood_keeps_nobody_else_out() -> None:
    waiting: Waiting[None, None] = Waiting(10)
    first = [job("noisy") for _ in range(10)]
    for one in first:
        waiting.add(one)
    with pytest.raises(OverloadedError, match=r"10 requests(.|\n)*Try again in about \d+ second") as caught:
        waiting.add(job("noisy"))
    assert caught.value.retry_after >= 1
    late = job("quiet")
    waiting.add(late)
    assert list(waiting.heads()) == [first[0], late]
    waiting.remove(first[3])
    waiting.remove(first[3])
    assert len(waiting) == 10
    for number in range(40):
        try:
            waiting.add(job(f"other{number}"))
        except OverloadedError:
            break
    assert len(waiting) == 20


# The attic


@given(st.lists(st.tuples(st.sampled_from("abc"), TOKENS, st.integers(1, 40)), max_size=40))
def test_the_attic_stays_within_its_limit(steps: list[tuple[str, list[int], int]]) -> None:
    attic = Attic(100)
    for tenant, tokens, size in steps:
        attic.put(Stored(Scope(tenant), tokens, np.zeros(size, np.uint8)))
        assert attic.size <= 100
        found, length = attic.best(Scope(tenant), tokens)
        assert found is None or length == common(list(found.tokens), tokens)
    attic.forget("a")
    assert attic.best(Scope("a"), [0, 1, 2]) == (None, 0)


def test_who_floods_the_attic_loses_its_own() -> None:
    attic = Attic(100)
    attic.put(Stored(LARK, [1, 2, 3], np.zeros(40, np.uint8)))
    for number in range(20):
        attic.put(Stored(ACME, [number], np.zeros(30, np.uint8)))
    assert attic.best(LARK, [1, 2, 3])[1] == 3
    assert attic.best(ACME, [19])[1] == 1
    assert attic.best(ACME, [0])[1] == 0


# Tracks


def test_what_a_draft_guessed_right_needs_no_computation() -> None:
    track = Track([1, 2, 3], 100, cached=1)
    assert (track.past, track.pending, track.length, track.room) == ([1], [2, 3], 3, 97)
    assert next(track.logits()) is COMPUTE
    rows = [object() for _ in range(4)]
    track.computed(2, [7, 8, 9], rows)  # type: ignore[arg-type]

    def row() -> object:
        try:
            return next(track.logits())
        except StopIteration as end:
            return end.value

    assert row() is rows[0]
    track.push([7])
    assert row() is rows[1]
    track.push([8, 4])
    assert row() is COMPUTE
    assert (track.past, track.pending, track.accepted, track.drafted) == ([1, 2, 3, 7, 8], [4], 2, 3)
    assert track.settle() and not track.settle()
    track.computed(1, [], [rows[3]])  # type: ignore[list-item]
    assert row() is rows[3]


# Pace and drafts


def test_the_pace_is_learnt_and_interpolated() -> None:
    pace = Pace()
    assert pace.seconds(1) is None
    assert pace.within(0.1, 512) == 512
    pace.note(1, 0.01)
    pace.note(9, 0.05)
    assert pace.seconds(5) == pytest.approx(0.03)
    assert pace.seconds(20) is None
    pace.note(100, 0.1, written=0)
    assert pace.seconds(200) == pytest.approx(0.2)
    assert pace.within(0.05, 512) == 50


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 8))
def test_a_draft_is_what_followed_the_same_before(tokens: list[int], most: int) -> None:
    drafter = Drafter(8)
    for end in range(1, len(tokens) + 1):  # as a reply grows
        drafter.guess(tokens[:end], 8)
    draft = drafter.guess(tokens, most)
    assert len(draft) <= most
    if draft:
        size = 3 if any(tokens[at : at + 3] == tokens[-3:] for at in range(len(tokens) - 3)) else 2
        tail = tokens[-size:]
        places = [at + size for at in range(len(tokens) - size) if tokens[at : at + size] == tail]
        assert draft == tokens[places[-1] : places[-1] + most]


def test_what_helps_a_batch_to_be_faster_is_found_among_the_measured_sizes() -> None:
    pace = Pace()
    for size, seconds in {1: 5, 2: 14, 12: 30, 13: 36, 15: 37, 16: 28, 24: 46}.items():
        pace.note(size, seconds)
    assert [pace.size(tokens) for tokens in (1, 2, 9, 12, 13, 15, 16, 24)] == [1, 2, 9, 12, 16, 16, 16, 24]
    assert pace.padded(13) == 28
    assert pace.mixed(0, 13) == 28
    assert pace.mixed(40, 2) is None  # what prompts take is not known
    pace.note(50, 50, written=0)
    assert pace.mixed(40, 2) == pytest.approx(44)


def test_a_disturbed_measurement_is_soon_mended() -> None:
    pace = Pace()
    pace.note(4, 10)
    pace.note(4, 100)
    assert pace.seconds(4) == 28
    pace.note(4, 10)
    assert pace.seconds(4) == 19


LENGTHS = (1, 4, 8, 12, 16, 24, 32)


def test_drafts_stop_where_they_are_always_wrong_and_grow_where_they_are_right() -> None:
    pace = Pace()
    for size, seconds in zip(LENGTHS, (1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8), strict=True):
        pace.note(size, seconds)
    good, bad = Drafter(31), Drafter(31)
    for _ in range(20):
        good.learn(good.length(pace, 1, 31), good.length(pace, 1, 31))
        bad.learn(bad.length(pace, 1, 31), 0)
    assert good.length(pace, 1, 31) == 31
    assert good.length(pace, 1, 9) == 7  # no odd sizes for a guess that is short
    assert bad.length(pace, 1, 31) == 0


def test_a_guess_that_is_not_computed_still_teaches() -> None:
    pace = Pace()
    for size, seconds in zip(LENGTHS, (1.0, 3.0, 3.2, 3.4, 3.6, 4.0, 4.4), strict=True):
        pace.note(size, seconds)
    drafter, quoted = Drafter(31), [*range(40)]
    assert drafter.length(pace, 1, 31) == 0  # it does not look worth it
    for end in range(40, 80):
        drafter.guess([*quoted, *quoted][:end], 31)
    assert drafter.length(pace, 1, 31) == 31
    said = [*quoted, *quoted]
    for number in range(20):
        said += [1, 2, 100 + number]  # it goes on otherwise each time
        drafter.guess(said[:-1], 31)
        drafter.guess(said, 31)
    assert drafter.length(pace, 1, 31) == 0


def test_dear_batches_make_no_drafts() -> None:
    pace = Pace()
    for size in LENGTHS:
        pace.note(size, float(size))
    drafter = Drafter(31)
    assert {drafter.length(pace, 1, 31) for _ in range(10)} == {0}
    assert Drafter(0).guess([1, 2, 1, 2], 5) == []


def test_a_draft_counts_what_the_others_lose() -> None:
    pace = Pace()
    for size, seconds in {1: 1.0, 4: 1.9, 5: 1.0, 8: 1.9}.items():
        pace.note(size, seconds)
    drafter = Drafter(3)
    for _ in range(20):
        drafter.learn(3, 3)
    assert drafter.length(pace, 1, 3) == 3  # four tokens in twice the time
    assert drafter.length(pace, 5, 3) == 0  # eight tokens in twice the time of five
