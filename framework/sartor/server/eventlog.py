"""A log of what happens in a piece of work, that any number of listeners follow from wherever they left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

__all__ = ["EventLog"]

T = TypeVar("T")


class EventLog(Generic[T]):
    """What happened, in order, until the work is done. It belongs to one event loop."""

    def __init__(self) -> None:
        self.notes: list[T] = []
        self.done = asyncio.Event()
        self._news = asyncio.Event()

    async def listen(self, after: int = 0) -> AsyncGenerator[tuple[int, T]]:
        """What happened, numbered from 1, from behind number `after` on, and then what happens, to the end.

        The end is told even to who asks from behind it.
        """
        at = max(after, 0)
        while True:
            while at < len(self.notes):
                at += 1
                yield at, self.notes[at - 1]
            if self.done.is_set():
                if at > len(self.notes) > 0:
                    yield len(self.notes), self.notes[-1]
                return
            await self._news.wait()

    def note(self, note: T) -> None:
        """Tell what happened."""
        self.notes.append(note)
        self._tell()

    def end(self) -> None:
        """Nothing more will happen."""
        self.done.set()
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
