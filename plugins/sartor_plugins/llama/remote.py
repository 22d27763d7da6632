"""An engine in a process of its own (`isolation: process`), with the same face as `Engine`.

A crash of llama.cpp ends that process and the replies that it was asked for, each with an error that says so. The next
request is served by a new one.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from sartor.errors import ModelError
from sartor.values import Workload

from sartor_plugins.llama.engine.crew import Limits
from sartor_plugins.llama.engine.ending import end_at_exit
from sartor_plugins.llama.engine.jobs import Job
from sartor_plugins.llama.link import Link
from sartor_plugins.llama.reply import Request, Said
from sartor_plugins.llama.settings import LlamaSettings

__all__ = ["RemoteEngine"]

_Job = Job[Request, Said]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before another attempt, where a process crashed at its start."""


class RemoteEngine:
    """Has jobs computed. The process begins with the first one.

    `submit`, `cancel`, `forget`, `workload` and `close` may be called from any thread.
    """

    def __init__(self, settings: LlamaSettings, directory: Path, name: str, limits: Limits) -> None:
        self._told = (settings, directory, name, limits)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._failures = 0
        self._not_before = 0.0

    def start(self) -> None:
        """Load the model now. Raises `ModelError` when it cannot be."""
        self._begin().call("start")

    def submit(self, job: _Job) -> None:
        """Queue `job`. Raises `ModelError` when no process can be started. That the queue is full is told through the
        outbox; `OverloadedError` is raised here when so much is under way that it must be."""
        self._begin(job)

    def cancel(self, job: _Job) -> None:
        """End `job`: it is told nothing more. What is computed for it alone stops at once."""
        job.cancelled = True
        with self._lock:
            link = self._link
        if link is not None:
            link.drop(job, True)

    def forget(self, tenant: str) -> None:
        """Give up what is kept of `tenant`. Returns when it is done."""
        with self._lock:
            link = self._link
        if link is None:
            return
        try:
            link.call("forget", tenant=tenant)
        except ModelError:
            if not link.over:  # else nothing is kept any more
                raise

    def workload(self) -> Workload:
        """How much is computed, and how much waits."""
        with self._lock:
            link = self._link
        return link.workload() if link is not None else Workload(0, 0)

    def close(self) -> None:
        """Finish what was submitted and end the process. A later job begins anew."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.end()

    def _begin(self, job: _Job | None = None) -> Link:
        """The link, with `job` in it: under the lock, so that none is added to a link that ends."""
        with self._lock:
            while True:
                if self._link is None or self._link.over:
                    self._link = self._anew(self._link)
                    end_at_exit(self._link)
                if job is None or self._link.add(job):
                    return self._link

    def _anew(self, old: Link | None) -> Link:
        """A new process, unless the `old` one crashed at its start a moment ago."""
        if old is not None:
            if old.loaded:
                self._failures = 0
            elif self._not_before <= old.ended:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)
                self._failures += 1
                self._not_before = old.ended + pause
            left = self._not_before - time.monotonic()
            if left > 0:
                error = old.crash.error()
                raise ModelError(
                    f"{error.what}; another attempt is made in {left:.1f} seconds",
                    where=error.where,
                    remedy=error.remedy,
                )
        return Link(*self._told)
