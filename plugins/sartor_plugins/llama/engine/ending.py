"""Threads that own native objects end before the interpreter does."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

__all__ = ["Endable", "end_at_exit"]


class Endable(Protocol):
    """A thread and what it owns."""

    abandoned: bool
    """Whether what was submitted need not be finished."""

    def end(self) -> None:
        """End the thread, and wait for it."""


def end_at_exit(owner: Endable) -> None:
    """A thread inside native code while the interpreter goes down would crash it."""
    known = weakref.ref(owner)

    def end() -> None:
        if (found := known()) is not None:
            found.abandoned = True
            found.end()

    atexit.register(end)
