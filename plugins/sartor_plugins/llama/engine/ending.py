"""What has to happen to threads with native objects before the interpreter goes down."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

__all__ = ["Ending", "end_at_exit"]


class Ending(Protocol):
    """Something with a thread."""

    abandoned: bool
    """Whether nobody is left to be answered."""

    def end(self) -> None:
        """End the thread, and wait for it."""


def end_at_exit(thing: Ending) -> None:
    """End `thing`, if it is still there: a thread inside native code while the interpreter goes down would crash it."""
    known = weakref.ref(thing)

    def end() -> None:
        if (found := known()) is not None:
            found.abandoned = True
            found.end()

    atexit.register(end)
