"""Work in lanes: in order within a lane, and any number of lanes beside each other.

A lane belongs to a group, such as a bot. How much may wait is bounded for each group and for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from sartor.errors import OverloadedError

__all__ = ["Lanes", "Work"]

log = logging.getLogger("sartor.channels")

_LATER = 10.0


class Work(Protocol):
    """Something to be done once."""

    async def run(self) -> None:
        """Do it. When it is cancelled, it cleans up by itself."""

    async def drop(self) -> None:
        """It will never be run: clean up."""


class Lanes:
    """Bounded work, with an end that waits for what is under way."""

    def __init__(self, *, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._lanes: dict[tuple[str, str], deque[Work]] = {}
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How much is waiting or under way."""
        return self._counts.total()

    def busy(self, group: str, lane: str) -> bool:
        """Whether something is waiting or under way in a lane."""
        return (group, lane) in self._lanes

    def check(self, group: str, number: int = 1) -> None:
        """Raises `OverloadedError` where there is no room for `number` more."""
        if self._closed:
            raise OverloadedError("the service is stopping", retry_after=_LATER)
        if len(self) + number > self._most:
            raise OverloadedError(f"{len(self)} messages of channels are waiting", retry_after=_LATER)
        if self._counts[group] + number > self._each:
            raise OverloadedError(f"{self._counts[group]} messages for {group} are waiting", retry_after=_LATER)

    def put(self, group: str, lane: str, work: Work) -> None:
        """Have `work` done after everything that was put into the lane before. Raises `OverloadedError`."""
        self.check(group)
        self._counts[group] += 1
        if waiting := self._lanes.get((group, lane)):
            waiting.append(work)
            return
        self._lanes[group, lane] = deque([work])
        task = asyncio.create_task(self._walk(group, lane), name=f"lane {lane} of {group}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float) -> None:
        """Take no more, give what is there `seconds` to end, then stop it."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _walk(self, group: str, lane: str) -> None:
        waiting = self._lanes[group, lane]
        try:
            while waiting:
                try:
                    await waiting[0].run()
                except Exception as error:
                    log.error("work for %s failed: %s", group, type(error).__name__)
                waiting.popleft()
                self._counts[group] -= 1
        finally:  # without an await between the last look and this, so that nothing is put into a lane that has ended
            del self._lanes[group, lane]
            self._counts[group] -= len(waiting)
            if not self._counts[group]:
                del self._counts[group]
            await _drop([*waiting][1:])  # the first has cleaned up when it was cancelled


async def _drop(works: Sequence[Work]) -> None:
    for work in works:
        await work.drop()
