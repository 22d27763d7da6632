"""The jobs that wait for their turn: bounded, and in order for each tenant."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from sartor.errors import OverloadedError

from sartor_plugins.llama.engine.jobs import Job

__all__ = ["Waiting"]

R = TypeVar("R")
E = TypeVar("E")

_FIRST_GUESS = 1.0
_MEMORY = 0.1


class Waiting(Generic[R, E]):
    """Jobs by tenant. `add` and `__len__` may be called by any thread, the rest by the engine's only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._jobs: dict[str, deque[Job[R, E]]] = {}
        self._count = 0
        self._seconds = _FIRST_GUESS

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job[R, E]) -> None:
        """Raises `OverloadedError` when the queue is full.

        A full queue still takes a job of a tenant that has less than its share of it, up to twice the limit: who
        floods it keeps nobody else out.
        """
        with self._lock:
            own = len(self._jobs.get(job.tenant, ()))
            share = self._limit / (len(self._jobs) + 1)
            if self._count >= self._limit and (own >= share or self._count >= 2 * self._limit):
                raise OverloadedError(
                    f"{self._count} requests are waiting for the model already",
                    remedy=f"Try again in about {max(1, round(self._seconds * self._count))} seconds.",
                    retry_after=max(1.0, self._seconds * self._count),
                )
            self._jobs.setdefault(job.tenant, deque()).append(job)
            self._count += 1

    def heads(self) -> Iterator[Job[R, E]]:
        """The first job of each tenant, the tenant that came first first."""
        with self._lock:
            return iter([jobs[0] for jobs in self._jobs.values()])

    def remove(self, job: Job[R, E]) -> None:
        """Take out `job`, wherever it stands."""
        with self._lock:
            jobs = self._jobs.get(job.tenant)
            if jobs is not None and job in jobs:
                jobs.remove(job)
                self._count -= 1
                if not jobs:
                    del self._jobs[job.tenant]

    def all(self) -> list[Job[R, E]]:
        """Every job that waits."""
        with self._lock:
            return [job for jobs in self._jobs.values() for job in jobs]

    def served(self, seconds: float) -> None:
        """A job has left the engine `seconds` after the one before it: what a place in the queue costs."""
        self._seconds += _MEMORY * (min(seconds, 60.0) - self._seconds)
