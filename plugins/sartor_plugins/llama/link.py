"""One worker process, from its start to its end, and what it was asked for."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sartor.errors import ModelError, SartorError
from sartor.values import Workload

from sartor_plugins.llama import wire
from sartor_plugins.llama.child import Child
from sartor_plugins.llama.crash import causes, signal_name
from sartor_plugins.llama.engine.crew import Limits, late, unread
from sartor_plugins.llama.engine.jobs import Bell, Job
from sartor_plugins.llama.engine.queue import Waiting
from sartor_plugins.llama.reply import Request, Said
from sartor_plugins.llama.settings import LlamaSettings, model_path
from sartor_plugins.llama.wire import Frame, Garbled

__all__ = ["Crash", "Link"]

log = logging.getLogger("sartor.llama")

_Job = Job[Request, Said]

_PERIOD = 0.1
_GRACE = 10.0
"""Seconds beyond a deadline in which the worker must say something, or count as hung."""


@dataclass(frozen=True, slots=True)
class Crash:
    """How a worker ended."""

    what: str
    where: str
    remedy: str

    def error(self) -> ModelError:
        return ModelError(self.what, where=self.where, remedy=self.remedy)


@dataclass(eq=False)
class _Call:
    """Something that the worker is to do, and to say when it is done."""

    done: threading.Event = field(default_factory=threading.Event)
    error: SartorError | None = None


class Link:
    """One worker process. Deadlines, and whether replies are read, are watched here, so that they hold even where the
    worker hangs. `add`, `drop`, `call`, `workload` and `end` may be called from any thread."""

    crash: Crash
    """How it ended; there once `over` is true."""

    def __init__(self, settings: LlamaSettings, directory: Path, name: str, limits: Limits) -> None:
        """Start the process. Raises `ModelError` where no process can be started."""
        self._owner = os.getpid()
        self.abandoned = False
        self.loaded = False
        self.over = False
        self.ended = 0.0
        self._where = str(model_path(settings.path, directory))
        self._limits = limits
        self._under_way: Waiting[Request, Said] = Waiting(2 * limits.queue + 4 * limits.parallel)
        self._jobs: dict[int, _Job] = {}
        self._numbers: dict[_Job, int] = {}
        self._calls: dict[int, _Call] = {}
        self._count = itertools.count(1)
        self._ending: float | None = None
        self._heard = time.monotonic()
        self._last_end = 0.0
        self._hung = False
        self._news = threading.Condition()
        self._gone = threading.Event()
        self.child = Child(name)
        hello = {"settings": settings.model_dump(mode="json"), "directory": str(directory), "name": name}
        self._send({**hello, "limits": asdict(limits)})
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"{name}:watch", daemon=True)
        self._reader.start()
        self._watcher.start()

    def add(self, job: _Job) -> bool:
        """Have `job` computed; false where this worker takes none any more. Raises `OverloadedError`."""
        number = next(self._count)
        told = {"request": asdict(job.request), "tenant": job.tenant, "weight": job.weight, "adapter": job.adapter}
        at = time.time() - (time.monotonic() - job.submitted)
        data = wire.frame({"do": "submit", "job": number, **told, "seconds": job.seconds, "at": at})
        with self._news:
            if self.over or self._ending is not None:
                return False
            self._under_way.add(job)
            self._jobs[number], self._numbers[job] = job, number
            self.child.send(data)
            self._news.notify_all()
        return True

    def drop(self, job: _Job, end: BaseException | bool) -> None:
        """End `job`, if it has not ended."""
        with self._news:
            number = self._numbers.get(job)
            if number is None:
                return
            self._send({"do": "cancel", "job": number})
            bell = self._tell(number, (), end)
        _ring([bell])

    def call(self, do: str, **told: str) -> None:
        """Have something done, and wait for it. Raises what it raises, and `ModelError` where the worker ends."""
        call, number = _Call(), next(self._count)
        with self._news:
            if self.over:
                raise self.crash.error()
            self._calls[number] = call
            self._send({"do": do, "call": number, **told})
        call.done.wait()
        if call.error is not None:
            raise call.error

    def workload(self) -> Workload:
        """As many as the worker computes at once count as running, the rest as waiting."""
        count = len(self._under_way)
        running = min(count, self._limits.parallel)
        return Workload(running, count - running)

    def end(self) -> None:
        """End the process after what was submitted, and wait for it."""
        if os.getpid() != self._owner:  # a fork of the process that it belongs to
            return
        with self._news:
            self._ending = time.monotonic()
            if self.abandoned:
                self.child.kill()
            else:
                self._send({"do": "close"})
            self._news.notify_all()
        self._reader.join()
        self._watcher.join()

    def _send(self, told: Frame) -> None:
        self.child.send(wire.frame(told))

    def _tell(self, number: int, events: Iterable[Said], end: BaseException | bool) -> Bell | None:
        """Hand something over to a job. The lock is held: what is told after the end would undo it."""
        job = self._jobs[number]
        if end:
            del self._jobs[number], self._numbers[job]
            self._under_way.remove(job)
            now = time.monotonic()
            self._under_way.served(now - max(self._last_end, job.submitted))
            self._last_end = now
        return job.outbox.put(tuple(events), end)

    # The thread that reads

    def _read(self) -> None:
        problem = ""
        try:
            while (frame := self.child.read()) is not None:
                self._heard = time.monotonic()
                told = frame.get("all")
                if not isinstance(told, list):
                    raise Garbled("a frame without a list")
                self._take_all(told)
        except Exception as error:  # whatever it is: those who wait must hear of it
            problem = f"it sent what cannot be understood ({error})"
            if not isinstance(error, Garbled):
                log.exception("the worker's frames cannot be handled")
            self.child.kill()
        code, last_words = self.child.gone()
        self._finish(code, problem, last_words)

    def _take_all(self, told: Iterable[object]) -> None:
        bells: set[Bell | None] = set()
        try:
            for one in told:
                bells.add(self._take(one))
        finally:
            _ring(bells)

    def _take(self, told: object) -> Bell | None:
        """Do what one message says. Raises `Garbled`."""
        match told:
            case {"job": int(number), "events": list(events), "waited": float(waited), "end": end}:
                said = [wire.event_of(event) for event in events]
                with self._news:
                    if (job := self._jobs.get(number)) is None:
                        return None  # it was dropped
                    job.waited = waited
                    return self._tell(number, said, end if isinstance(end, bool) else wire.error_of(end))
            case {"call": int(number), "error": error}:
                with self._news:
                    call = self._calls.pop(number, None)
                if call is not None:
                    call.error = None if error is None else wire.error_of(error)
                    call.done.set()
            case {"loaded": True}:
                self.loaded = True
            case {"log": int(level), "text": str(text)}:
                log.log(level, "%s", text)
            case _:
                raise Garbled("an unknown message")
        return None

    def _finish(self, code: int, problem: str, last_words: str) -> None:
        """The process has ended: all who wait for something are told."""
        self.crash = self._crash(code, problem, last_words)
        if self._ending is None or not (self.abandoned or code == 0):
            log.error("%s", self.crash.error())
        with self._news:
            self.ended = time.monotonic()
            self.over = True
            bells = [self._tell(number, (), self.crash.error()) for number in list(self._jobs)]
            for call in self._calls.values():
                call.error = self.crash.error()
                call.done.set()
            self._news.notify_all()
        self._gone.set()
        _ring(bells)

    def _crash(self, code: int, problem: str, last_words: str) -> Crash:
        by = f"was ended by {signal_name(code)}" if code < 0 else f"ended with code {code}"
        if self._hung:
            by = "did not answer any more and was ended"
        elif problem:
            by = f"was ended, since {problem}"
        elif signal_name(code) == "SIGKILL":
            by += " (was the memory full?)"
        why = causes(last_words)
        when = "while it computed" if self.loaded else "at its start"
        smaller = "Set `rooms`, `cells` or `context` lower, or give it more memory"
        other = "Try another version of llama-cpp-python, or another file of the model"
        remedy = smaller if signal_name(code) == "SIGKILL" and not (self._hung or problem) else other
        if self.loaded:
            remedy = f"The next request is served by a new process. {remedy}, if it happens again"
        return Crash(f"the model's own process {by} {when}{f': {why}' if why else ''}", self._where, f"{remedy}.")

    # The thread that watches

    def _watch(self) -> None:
        while True:
            with self._news:
                while not (self._jobs or self.over or self._ending is not None):
                    self._news.wait()
                if self.over:
                    return
                jobs = list(self._numbers)
            now = time.monotonic()
            for job in jobs:
                self._look_at(job, now)
            if self._ending is not None and not jobs and now - self._ending > _GRACE:
                self.child.kill()
            self._gone.wait(_PERIOD)

    def _look_at(self, job: _Job, now: float) -> None:
        """End `job` where it must; and a worker that lets a deadline pass in silence."""
        if job.cancelled:
            self.drop(job, True)
        elif (error := unread(job, self._limits, now)) is not None:
            self.drop(job, error)
        elif now > job.deadline + _GRACE:
            if self.loaded and now - self._heard > _GRACE:
                self._hung = True
                self.child.kill()
            self.drop(job, late(job))


def _ring(bells: Iterable[Bell | None]) -> None:
    for bell in set(bells):
        if bell is not None:
            bell.ring()
