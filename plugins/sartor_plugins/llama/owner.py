"""A thread that owns native objects: work is queued, done in turn, and its results handed over."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator
from typing import Generic, Protocol, TypeVar

__all__ = ["Job", "Owner", "Resource"]


class Resource(Protocol):
    """What an owner makes, uses and closes in its thread."""

    def stop(self) -> None:
        """Stop what is being computed. The only method that is called from other threads."""

    def ready(self) -> None:
        """Take back `stop` before the next job."""

    def close(self) -> None:
        """Free everything."""


R = TypeVar("R", bound=Resource)
E = TypeVar("E")


class Job(Generic[R, E]):
    """Work for an owner's thread: `work` gives events, each of which is handed to `deliver` in that thread.

    `deliver` is called with each event, then once with None at the end or with the exception that ended it.
    """

    def __init__(
        self, work: Callable[[R], Generator[E, None, None]], deliver: Callable[[E | BaseException | None], None]
    ) -> None:
        self.work = work
        self.deliver = deliver
        self.cancelled = threading.Event()
        self.waited = 0.0
        """Seconds in the queue, once the work has begun."""
        self.submitted = time.monotonic()


class Owner(Generic[R, E]):
    """Owns a resource that only one thread may touch. The thread and the resource begin with the first job."""

    def __init__(self, make: Callable[[], R], name: str) -> None:
        self._make = make
        self._name = name
        self._lock = threading.Lock()
        self._lane: _Lane[R, E] | None = None

    def submit(self, job: Job[R, E]) -> None:
        """Queue `job`; jobs run in the order in which they came."""
        with self._lock:
            if self._lane is None:
                self._lane = _Lane(self._make, self._name)
                _end_at_exit(self._lane)
            self._lane.jobs.put(job)

    def cancel(self, job: Job[R, E]) -> None:
        """End `job`: at once where it is waiting, within one operation where it is being computed."""
        with self._lock:
            lane = self._lane
        job.cancelled.set()
        if lane is not None:
            lane.stop(job)

    def close(self) -> None:
        """Finish the queue, free the resource and end the thread. A later job begins anew."""
        with self._lock:
            lane, self._lane = self._lane, None
        if lane is not None:
            lane.end()


class _Lane(Generic[R, E]):
    """One thread with its queue and its resource."""

    def __init__(self, make: Callable[[], R], name: str) -> None:
        self.jobs: queue.SimpleQueue[Job[R, E] | None] = queue.SimpleQueue()
        self.abandoned = False
        self._make = make
        self._lock = threading.Lock()
        self._current: Job[R, E] | None = None
        self._resource: R | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, job: Job[R, E] | None = None) -> None:
        """Stop what is being computed, where that is `job` (or whatever it is)."""
        with self._lock:
            current = self._current
            if current is not None and job in (None, current):
                current.cancelled.set()
                if self._resource is not None:
                    self._resource.stop()

    def end(self) -> None:
        """End the thread after what is queued, and wait for it."""
        self.jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            self._do(job)
            del job
        if self._resource is not None:
            self._resource.close()

    def _do(self, job: Job[R, E]) -> None:
        job.waited = time.monotonic() - job.submitted
        result: BaseException | None = None
        try:
            if not (job.cancelled.is_set() or self.abandoned):
                self._work(job)
        except Exception as error:
            result = error
        finally:
            with self._lock:
                self._current = None
                if self._resource is not None:
                    self._resource.ready()
        job.deliver(result)

    def _work(self, job: Job[R, E]) -> None:
        resource = self._resource or self._make()
        with self._lock:
            self._resource = resource
            self._current = job
        with contextlib.closing(job.work(resource)) as events:
            if job.cancelled.is_set():
                return
            for event in events:
                job.deliver(event)
                if job.cancelled.is_set():
                    return


def _end_at_exit(lane: _Lane[R, E]) -> None:
    """A thread inside native code while the interpreter goes down would crash it."""
    known = weakref.ref(lane)

    def end() -> None:
        if (found := known()) is not None:
            found.abandoned = True
            found.stop()
            found.end()

    atexit.register(end)
