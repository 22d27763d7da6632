"""Observers: objects that are told what happens in turns, to count, to trace, to meter.

They change nothing. One that raises is logged with its name, and the turn goes on: observers fail open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from sartor.errors import SartorError
from sartor.values import NO_USAGE, Reply, Turn, Usage

__all__ = ["TRACE_HEADERS", "Observer", "Observers", "Step"]

log = logging.getLogger("sartor.observing")

TRACE_HEADERS: ContextVar[Mapping[str, str]] = ContextVar("sartor_trace_headers", default=MappingProxyType({}))
"""What the request that led to a turn says of the trace that it belongs to: `traceparent` and `tracestate` (W3C Trace
Context), as they came."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a turn that took time: retrieval, a call of the model, the run of a tool."""

    kind: Literal["retrieval", "model", "tool"]
    name: str
    """The model's name in `sartor.yaml`, or the tool's; for retrieval, the bot's id."""
    began: float
    """Seconds since the epoch."""
    seconds: float
    usage: Usage = NO_USAGE
    """The tokens, for a model."""
    error: bool = False
    first_text: float | None = None
    """Seconds from `began` to the first text of a model, where it gave any."""


class Observer:
    """Base of observers: override what you want to be told. Methods run in the event loop, so they must be quick."""

    name: str = ""
    """How it is called in logs; the name of its plugin, or of its class when empty."""

    def turn_started(self, turn: Turn) -> None:
        """A turn begins. It has no text yet, since no policy has seen it."""

    def step_finished(self, turn: Turn, step: Step) -> None:
        """A step of the turn is over, whatever came of it."""

    def turn_finished(self, reply: Reply) -> None:
        """A turn is over and committed, or was cancelled and committed."""

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        """A turn that had begun is over, and there is no reply: the model has too much to do (`OverloadedError`), or
        the conversation is not this user's (`NamingError`)."""


class Observers:
    """The observers of a project, told one after the other."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = observers

    def turn_started(self, turn: Turn) -> None:
        self._tell(lambda observer: observer.turn_started(turn))

    def step_finished(self, turn: Turn, step: Step) -> None:
        self._tell(lambda observer: observer.step_finished(turn, step))

    def turn_finished(self, reply: Reply) -> None:
        self._tell(lambda observer: observer.turn_finished(reply))

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        self._tell(lambda observer: observer.turn_refused(turn, error))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                what(observer)
            except Exception:
                log.exception("observer %s raised; the turn goes on", observer.name or type(observer).__name__)
