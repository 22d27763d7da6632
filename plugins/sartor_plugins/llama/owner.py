"""A thread that owns native objects: work is queued, done in turn, and its results handed over."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
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

    `deliver` is called with an event, then once with None at the end or with the exception that ended it.
    """

    def __init__(self, work: Callable[[R], Iterator[E]], deliver: Callable[[E | BaseException | None], None]) -> None:
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
        self._jobs: queue.SimpleQueue[Job[R, E] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._current: Job[R, E] | None = None
        self._resource: R | None = None

    def submit(self, job: Job[R, E]) -> None:
        """Queue `job`; jobs run in the order in which they came."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
                _close_at_exit(self)
            self._jobs.put(job)

    def cancel(self, job: Job[R, E]) -> None:
        """End `job`: at once where it is waiting, within one operation where it is being computed."""
        with self._lock:
            job.cancelled.set()
            if job is self._current and self._resource is not None:
                self._resource.stop()

    def close(self) -> None:
        """Finish the queue, free the resource and end the thread. A later job begins anew."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job
        with self._lock:
            resource, self._resource = self._resource, None
        if resource is not None:
            resource.close()

    def _do(self, job: Job[R, E]) -> None:
        job.waited = time.monotonic() - job.submitted
        result: BaseException | None = None
        try:
            if not job.cancelled.is_set():
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
        if self._resource is None:
            made = self._make()
            with self._lock:
                self._resource = made
        with self._lock:
            self._current = job
            resource = self._resource
        if job.cancelled.is_set() or resource is None:
            return
        for event in job.work(resource):
            job.deliver(event)
            if job.cancelled.is_set():
                return


def _close_at_exit(owner: Owner[R, E]) -> None:
    """A thread inside native code while the interpreter goes down would crash it."""
    known = weakref.ref(owner)

    def close() -> None:
        if (found := known()) is not None:
            current = found._current
            if current is not None:
                found.cancel(current)
            found.close()

    atexit.register(close)
