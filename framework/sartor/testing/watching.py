"""Watches observers: what they are told, whether they raise or change it, and what they log meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sartor.errors import SartorError
from sartor.observing import Observer, Step
from sartor.values import Reply, Turn

__all__ = ["ObserverWatch"]

_ENDS = ("turn_finished", "turn_refused")


class ObserverWatch:
    """Stands before and behind the observers of a project: ``bots.observers[:] = watch.row``."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers
        self.row = [_Post(self._before), *observers, _Post(self._after)]
        self.turns: dict[str, list[str]] = {}
        """For each turn the methods that were called, in their order."""
        self.changed: list[str] = []
        """The methods after which something that was told was no longer the same."""
        self.raised: list[str] = []
        """What the observers raised."""
        self.lines: list[str] = []
        """What was logged while the observers were told."""
        self._shown: str | None = None

    @property
    def open(self) -> list[str]:
        """Turns that did not begin once and end once."""
        right = [turn for turn, told in self.turns.items() if told[0] == "turn_started" and told[-1] in _ENDS]
        once = [turn for turn in right if sum(name != "step_finished" for name in self.turns[turn]) == 2]
        return sorted(self.turns.keys() - set(once))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, all that is logged is looked at."""
        root, ear = logging.getLogger(), _Ear(self._hear)
        level = root.level
        root.addHandler(ear)
        root.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(ear)

    def _before(self, method: str, turn: str, told: object) -> None:
        self.turns.setdefault(turn, []).append(method)
        self._shown = repr(told)

    def _after(self, method: str, turn: str, told: object) -> None:
        if repr(told) != self._shown:
            self.changed.append(f"{method}: {self._shown} became {told!r}")
        self._shown = None

    def _hear(self, record: logging.LogRecord) -> None:
        if record.name == "sartor.observing":
            self.raised.append(repr(record.exc_info[1]) if record.exc_info else record.getMessage())
        elif self._shown is not None:
            self.lines.append(logging.Formatter().format(record))


class _Post(Observer):
    """Notes what it is told."""

    name = "watch"

    def __init__(self, note: Callable[[str, str, object], None]) -> None:
        self._note = note

    def turn_started(self, turn: Turn) -> None:
        self._note("turn_started", turn.id, turn)

    def step_finished(self, turn: Turn, step: Step) -> None:
        self._note("step_finished", turn.id, (turn, step))

    def turn_finished(self, reply: Reply) -> None:
        self._note("turn_finished", reply.turn.id, reply)

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        self._note("turn_refused", turn.id, (turn, error))


class _Ear(logging.Handler):
    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record)
