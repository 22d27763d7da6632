"""The worker: a process that holds a model for another one, which asks it through a pipe.

Started by `sartor_plugins.llama.remote` as ``python -m sartor_plugins.llama.worker``. It ends when its input does, so
that it never outlives the process that it works for. Ctrl-C and SIGTERM are that process's business: it lets its
replies come to their ends, and then closes the pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from sartor_plugins.llama import wire
from sartor_plugins.llama.engine.crew import Limits
from sartor_plugins.llama.engine.engine import Engine
from sartor_plugins.llama.engine.jobs import Bell, Job
from sartor_plugins.llama.reply import Request, Said
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.wire import Frame

__all__ = ["main"]

_PARENT_SECONDS = 1.0
_PREFERRED_VICTIM = "500"
_LONGEST = 1 << 31
"""Bytes of a frame: what is asked for was made by a process that is trusted."""

log = logging.getLogger("sartor")


class _Post:
    """What goes out: all messages of a batch in one frame, written by the engine's bells and not by its thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._writing = threading.Lock()
        self._frames: deque[Frame] = deque()

    def add(self, frame: Frame) -> None:
        """Let the next `ring` send `frame`."""
        self._frames.append(frame)

    def ring(self) -> None:
        """Send what there is. May be called from any thread."""
        with self._writing:
            try:
                if frames := [self._frames.popleft() for _ in range(len(self._frames))]:
                    self._stream.write(wire.frame({"all": frames}))
                    self._stream.flush()
            except OSError:  # nobody is left to hear it
                os._exit(1)

    def send(self, frame: Frame) -> None:
        """Send `frame` now."""
        self.add(frame)
        self.ring()


class _Outbox:
    """Where the events of a job go: to the process that asked, which looks itself whether they are read."""

    unread_since: float | None = None
    job: Job[Request, Said] | None = None

    def __init__(self, post: _Post, number: int, ended: Callable[[int], object]) -> None:
        self._post = post
        self._number = number
        self._ended = ended

    def put(self, events: Sequence[Said], end: BaseException | bool = False) -> Bell:
        waited = float(self.job.waited) if self.job is not None else 0.0
        told = [wire.told_event(event) for event in events]
        ended = wire.told_error(end) if isinstance(end, Exception) else bool(end)
        if end:
            self._ended(self._number)
        self._post.add({"job": self._number, "events": told, "waited": waited, "end": ended})
        return self._post


class _Worker:
    """Does what each frame says."""

    def __init__(self, post: _Post, hello: Frame) -> None:
        self._post = post
        self._settings = LlamaSettings.model_validate(hello["settings"])
        self._directory = Path(hello["directory"])
        self._jobs: dict[int, Job[Request, Said]] = {}
        self._engine: Engine[Request, Said] = Engine(self._load, hello["name"], Limits(**hello["limits"]))

    def do(self, frame: Frame) -> None:
        """Do what `frame` says, without waiting for it to be done."""
        match frame["do"]:
            case "submit":
                self._submit(frame)
            case "cancel":
                if (job := self._jobs.get(frame["job"])) is not None:
                    self._engine.cancel(job)
            case "start":
                self._apart(frame, self._engine.start)
            case "forget":
                self._apart(frame, lambda: self._engine.forget(frame["tenant"]))
            case "close":
                threading.Thread(target=self._close, daemon=True).start()

    def _load(self) -> Runtime:
        runtime = load(self._settings, self._directory)
        self._post.send({"loaded": True})
        return runtime

    def _submit(self, frame: Frame) -> None:
        outbox = _Outbox(self._post, frame["job"], lambda number: self._jobs.pop(number, None))
        try:
            job: Job[Request, Said] = Job(
                wire.request_of(frame["request"]),
                outbox,
                tenant=frame["tenant"],
                weight=frame["weight"],
                adapter=frame["adapter"],
                seconds=frame["seconds"],
            )
            age = max(0.0, time.time() - frame["at"])  # it has waited for this process to start, too
            job.submitted -= age
            job.deadline -= age
            outbox.job = job
            self._jobs[frame["job"]] = job
            self._engine.submit(job)
        except Exception as error:
            outbox.put((), error).ring()

    def _apart(self, frame: Frame, do: Callable[[], None]) -> None:
        """Do what takes a while in a thread of its own, and tell when it is done."""

        def work() -> None:
            error: Frame | None = None
            try:
                do()
            except Exception as problem:
                error = wire.told_error(problem)
            self._post.send({"call": frame["call"], "error": error})

        threading.Thread(target=work, daemon=True).start()

    def _close(self) -> None:
        self._engine.close()
        os._exit(0)


class _Log(logging.Handler):
    """Hands what is logged to the process that the worker works for."""

    def __init__(self, post: _Post) -> None:
        super().__init__(logging.WARNING)
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        self._post.send({"log": record.levelno, "text": self.format(record)})


def main() -> None:
    """Work until the input ends; then stop at once, whatever is being computed."""
    try:
        _work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _work() -> None:
    requests, post = _pipes()
    _settle()
    hello = wire.read(requests)
    if hello is None:
        return
    log.addHandler(_Log(post))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    worker = _Worker(post, hello)
    while (frame := wire.read(requests, _LONGEST)) is not None:
        worker.do(frame)


def _pipes() -> tuple[BinaryIO, _Post]:
    """The pipes, taken away from standard input and output: nothing that a library prints may get between."""
    requests, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, _Post(events)


def _settle() -> None:
    """Leave signals to the parent, write no core file, which would hold what tenants say, and be the first to go when
    memory runs out. Where the system knows how."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_PREFERRED_VICTIM, encoding="ascii")


def _end_with(parent: int) -> None:
    """End with the parent, also where a process that it has forked holds its end of the pipe open."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
