"""How far back a prompt reaches, and how long the next ones begin with the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sartor.window import lately


def numbered(numbers) -> list[tuple[int, int]]:
    return [(number, number) for number in numbers]


@pytest.mark.parametrize(
    ("count", "limit", "step", "first"),
    [
        (3, 6, 3, 1),
        (6, 6, 3, 1),
        (7, 6, 3, 4),
        (9, 6, 3, 4),
        (10, 6, 3, 7),
        (5, 1, 1, 5),
        (7, 3, 1, 5),
        (100, 7, 3, 94),
    ],
)
def test_the_oldest_are_left_out_several_at_a_time(count, limit, step, first):
    assert lately(numbered(range(1, count + 1)), limit, step) == list(range(first, count + 1))


@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 60), st.data())
@settings(deadline=None)
def test_what_is_shown_does_not_depend_on_how_much_was_read(count, limit, further, data):
    step = data.draw(st.integers(1, max(1, limit // 2)))
    read = numbered(range(1, count + 1))[-(limit + 1 + further) :]
    shown = lately(read, limit, step)
    assert shown == lately(numbered(range(1, count + 1)), limit, step)
    assert limit - step < len(shown) <= limit or len(shown) == count < limit


@given(st.sets(st.integers(1, 60)), st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_with_numbers_missing_whole_stretches_are_left_out(numbers, limit, step):
    shown = lately(numbered(sorted(numbers)), limit, step)
    left_out = sorted(numbers)[: len(numbers) - len(shown)]
    assert left_out + shown == sorted(numbers)
    assert len(shown) <= limit
    stretches = [{(number - 1) // step for number in part} for part in (left_out, shown)]
    assert stretches[0].isdisjoint(stretches[1])


def test_without_a_limit_nothing_is_shown():
    assert lately(numbered([1, 2]), 0, 1) == []
