"""Leaving something alone that fails again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sartor.errors import ToolError

__all__ = ["Breaker", "Outage"]


class Outage(ToolError):
    """The other side could not be reached, took too long, or failed: one call is as good as another to find out."""


class Breaker:
    """Of one tool of one bot. Closed after `failures` in a row; after `rest` seconds one call may try again."""

    def __init__(self, failures: int, rest: float, now: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._rest = rest
        self._now = now
        self._failures = 0
        self._since = 0.0
        self._trying = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around a call. Raises `ToolError` at once where none should be tried; an `Outage` inside counts."""
        tired = self._failures >= self._most
        left = self._since + self._rest - self._now()
        if tired and (left > 0 or self._trying):
            raise ToolError(f"it is out of order; try again in {max(1, round(left))} seconds")
        self._trying = tired
        try:
            yield
        except Outage:
            self._failures += 1
            self._since = self._now()
            raise
        else:
            self._failures = 0
        finally:
            if tired:
                self._trying = False
