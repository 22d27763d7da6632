"""The thread of the embeddings in trouble: nobody who asked is left waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from sartor.errors import ModelError
from sartor_plugins.llama.embeddings import _Desk, _Job
from sartor_plugins.llama.encoder import Encoder


class Notes:
    """An encoder whose tokens are the text's length, and which computes when it is let go on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_work = threading.Event()

    def tokens(self, text: str) -> list[int]:
        if "!" in text:
            raise ModelError(f"no tokens for {text}")
        return [len(text)]

    def fits(self, group: Sequence[object], tokens: object) -> bool:
        return len(group) < 4

    def compute(self, group: Sequence[Sequence[int]]) -> list[list[float]]:
        self.at_work.set()
        assert self.go.wait(10)
        return [[float(tokens[0])] for tokens in group]

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def desk(notes: Notes) -> Iterator[_Desk]:
    made = _Desk(lambda: cast("Encoder", notes), "test")
    yield made
    notes.go.set()
    made.end()


def busy(desk: _Desk, notes: Notes) -> _Job:
    first = _Job(["z"])
    desk.add(first)
    assert notes.at_work.wait(10)
    return first


def test_a_text_without_tokens_ends_its_own_call_only(desk: _Desk, notes: Notes) -> None:
    busy(desk, notes)
    before, wrong, after = _Job(["a"]), _Job(["b", "b!", "bb"]), _Job(["ccc"])
    for job in (before, wrong, after):
        desk.add(job)
    notes.go.set()
    assert before.future.result(5) == [[1.0]]
    with pytest.raises(ModelError, match="no tokens for b!"):
        wrong.future.result(5)
    assert after.future.result(5) == [[3.0]]


def test_a_call_that_is_cancelled_when_its_vectors_are_there(desk: _Desk, notes: Notes) -> None:
    """`cancelled` is looked at before the result is set: whoever cancels in between must not end the thread."""
    first = busy(desk, notes)
    future: Any = first.future
    looks = {name: getattr(future, name) for name in ("cancelled", "done")}

    def late(name: str) -> bool:
        answer = bool(looks[name]())
        future.cancel()
        return answer

    future.cancelled, future.done = (lambda: late("cancelled")), (lambda: late("done"))
    notes.go.set()
    second = _Job(["aa"])
    desk.add(second)
    assert second.future.result(5) == [[2.0]]


def test_what_is_abandoned_is_told_so(desk: _Desk, notes: Notes) -> None:
    busy(desk, notes)
    waiting = _Job(["a"])
    desk.add(waiting)
    desk.abandoned = True
    notes.go.set()
    with pytest.raises(ModelError, match="closed"):
        waiting.future.result(5)
