"""The thread that owns a model and computes the replies of all who ask, together.

Read `_Lane._once`: take what came in, end what is over, let newcomers in, compute one batch. What a batch consists of,
and what becomes of the replies in it, stands in `crew` and `batches`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sartor.values import Workload

from sartor_plugins.llama.engine.crew import Crew, Limits, Machine, late
from sartor_plugins.llama.engine.ending import end_at_exit
from sartor_plugins.llama.engine.jobs import Bell, Job
from sartor_plugins.llama.engine.queue import Waiting
from sartor_plugins.llama.engine.runs import Run

__all__ = ["Engine", "Limits", "Machine"]

R = TypeVar("R")
E = TypeVar("E")

log = logging.getLogger("sartor.llama")


class Engine(Generic[R, E]):
    """Computes jobs. The thread, and what it works on, begin with the first one.

    `submit`, `cancel`, `forget`, `workload` and `close` may be called from any thread.
    """

    def __init__(self, make: Callable[[], Machine[R, E]], name: str, limits: Limits) -> None:
        """`make` is called in the thread; what it raises is what each job is told until it succeeds."""
        self._make = make
        self._name = name
        self._limits = limits
        self._lock = threading.Lock()
        self._lane: _Lane[R, E] | None = None

    def start(self) -> None:
        """Make the machine now. Raises what `make` raises."""
        self._begin().call(lambda machine: None, opens=True)

    def submit(self, job: Job[R, E]) -> None:
        """Queue `job`. Raises `OverloadedError` when the queue is full."""
        self._begin(job)

    def cancel(self, job: Job[R, E]) -> None:
        """End `job`: it is told nothing more. What is computed for it alone stops at once."""
        with self._lock:
            lane = self._lane
        job.cancelled = True
        if lane is not None:
            lane.stop_if_for_nobody()

    def forget(self, tenant: str) -> None:
        """Give up what is kept of `tenant`. Returns when it is done."""
        with self._lock:
            lane = self._lane
        if lane is not None:
            lane.call(lambda machine: machine.memory.forget(tenant))

    def workload(self) -> Workload:
        """How much is computed, and how much waits."""
        with self._lock:
            lane = self._lane
        return lane.workload() if lane is not None else Workload(0, 0)

    def close(self) -> None:
        """Finish what was submitted, free everything and end the thread. A later job begins anew."""
        with self._lock:
            lane, self._lane = self._lane, None
        if lane is not None:
            lane.end()

    def _begin(self, job: Job[R, E] | None = None) -> _Lane[R, E]:
        """The lane, with `job` in it: under the lock, so that none is added to a lane that ends."""
        with self._lock:
            if self._lane is None:
                self._lane = _Lane(self._make, self._name, self._limits)
                end_at_exit(self._lane)
            if job is not None:
                self._lane.add(job)
            return self._lane


@dataclass(eq=False)
class _Call(Generic[R, E]):
    """Something to be done in the thread between two batches."""

    do: Callable[[Machine[R, E]], None]
    opens: bool
    """Whether the machine is made for it; else it is not done where there is none."""
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class _Lane(Generic[R, E]):
    """One thread with its machine."""

    def __init__(self, make: Callable[[], Machine[R, E]], name: str, limits: Limits) -> None:
        self.abandoned = False
        self._make = make
        self._name = name
        self._limits = limits
        self._waiting: Waiting[R, E] = Waiting(limits.queue)
        self._calls: list[_Call[R, E]] = []
        self._computing: Sequence[Run[R, E]] = ()
        self._crew: Crew[R, E] | None = None
        self._ending = False
        self._news = threading.Condition()
        self._bells: queue.SimpleQueue[Bell | None] = queue.SimpleQueue()
        self._ringer = threading.Thread(target=self._ring, name=f"{name}:bells", daemon=True)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._ringer.start()
        self._thread.start()

    # Called from other threads

    def add(self, job: Job[R, E]) -> None:
        self._waiting.add(job)
        with self._news:
            self._news.notify()

    def call(self, do: Callable[[Machine[R, E]], None], *, opens: bool = False) -> None:
        """Do something in the thread between two batches, and wait for it. Raises what it raises."""
        call = _Call(do, opens)
        with self._news:
            self._calls.append(call)
            self._news.notify()
        while not call.done.wait(0.1) and self._thread.is_alive():
            pass
        if call.error is not None:
            raise call.error

    def stop_if_for_nobody(self) -> None:
        """Stop the batch that is computed, where all of it was cancelled."""
        with self._news:
            if self._crew and self._computing and all(run.job.cancelled for run in self._computing):
                self._crew.machine.context.abort.raise_()
            self._news.notify()

    def workload(self) -> Workload:
        crew = self._crew
        return Workload(len(crew.runs) if crew is not None else 0, len(self._waiting))

    def end(self) -> None:
        """End the thread after what was submitted, and wait for it."""
        with self._news:
            self._ending = True
            if self.abandoned and self._crew:
                self._crew.machine.context.abort.raise_()
            self._news.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    # The thread

    def _work(self) -> None:
        while self._wait():
            try:
                self._once()
            except Exception as error:  # a mistake of ours: whoever waits must hear of it, and the next are served
                log.exception("the engine %s failed", self._name)
                if self._crew is not None:
                    self._crew.lose(error)
                    self._crew.ring()
        if self._crew is not None:
            self._crew.lose(RuntimeError("the engine was closed"))
            self._crew.ring()
            self._crew.machine.close()
        self._answer_calls()
        self._bells.put(None)
        self._ringer.join()

    def _ring(self) -> None:
        """Wake callers from a thread of its own: to wake an event loop is to let it have the interpreter, and the
        engine would wait for it before the next batch."""
        while (bell := self._bells.get()) is not None:
            bell.ring()

    def _once(self) -> None:
        """One round."""
        self._answer_calls()
        self._end_what_waits_too_long()
        if self._crew is None and self._waiting:
            self._open()
        if self._crew is not None:
            if self._crew.untidy_in() <= 0:
                self._crew.machine.memory.tidy()
            self._crew.end_what_is_over()
            self._crew.let_in()
            if self._crew.runs:
                self._crew.compute()
            if not self._crew.runs:
                self._crew.ring()

    def _wait(self) -> bool:
        """Sleep until there is something to do; false when the thread is to end."""

        def work() -> bool:
            return bool((self._crew and self._crew.runs) or self._calls or self._waiting)

        with self._news:
            while not (work() or self._ending):
                patience = self._crew.untidy_in() if self._crew is not None else math.inf
                if patience <= 0:
                    return True
                self._news.wait(None if patience == math.inf else patience)
            return work() and not self.abandoned

    @contextlib.contextmanager
    def _computes(self, runs: Sequence[Run[R, E]]) -> Iterator[None]:
        """While it lasts, the batch is stopped as soon as all of `runs` are cancelled."""
        assert self._crew is not None
        abort = self._crew.machine.context.abort
        with self._news:
            self._computing = runs
            if self.abandoned or all(run.job.cancelled for run in runs):
                abort.raise_()
        try:
            yield
        finally:
            with self._news:
                self._computing = ()
                abort.lower()

    def _answer_calls(self) -> None:
        with self._news:
            calls, self._calls = self._calls, []
        for call in calls:
            try:
                if call.opens and self._crew is None:
                    self._crew = Crew(self._make(), self._limits, self._waiting, self._computes, self._bells.put)
                if self._crew is not None:
                    call.do(self._crew.machine)
            except Exception as error:
                call.error = error
            call.done.set()

    def _open(self) -> None:
        """Make the machine with the first job; where that fails, all who wait are told."""
        try:
            self._crew = Crew(self._make(), self._limits, self._waiting, self._computes, self._bells.put)
        except Exception as error:
            for job in self._waiting.all():
                self._waiting.remove(job)
                _tell(job, error)

    def _end_what_waits_too_long(self) -> None:
        now = time.monotonic()
        for job in self._waiting.all():
            if job.cancelled or now > job.deadline:
                self._waiting.remove(job)
                _tell(job, True if job.cancelled else late(job))


def _tell(job: Job[R, E], end: BaseException | bool) -> None:
    bell = job.outbox.put((), end)
    if bell is not None:
        bell.ring()
