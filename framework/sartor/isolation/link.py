"""One process of an isolated plugin, from its start to its end: what it is asked, and what it may answer."""

from __future__ import annotations

import contextlib
import itertools
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from sartor.errors import PluginError, RunError, SartorError
from sartor.isolation.printing import Printing
from sartor.isolation.process import Process
from sartor.isolation.wire import Decoder, Frame, Garbled, ToolForm, frame, plain, tool_forms

__all__ = ["Launch", "Link"]

log = logging.getLogger("sartor.isolation")

_PIECE = 1 << 16
_WORDS = 1000
_MOST_CALLS = 64
_CLOSING = 2.0
_FIRST_FRAMES = 4 << 20


@dataclass(frozen=True)
class Launch:
    """All that is needed to start a process of a plugin."""

    label: str
    """For the log: which plugin, and whose."""
    paths: tuple[str, ...]
    environment: tuple[str, ...]
    hello: Mapping[str, object]
    scratch: bool
    start_seconds: float
    idle_seconds: float
    result_bytes: int


@dataclass(eq=False)
class _Call:
    deadline: float
    answer: Future[Frame] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.answer.set_running_or_notify_cancel()  # who waits may go, but the answer cannot be cancelled


class Link:
    """A process that runs, and the thread that speaks with it. Its methods may be called from any thread."""

    def __init__(self, launch: Launch) -> None:
        """Start the process. Raises `RunError` where that is not possible."""
        self.tools: Future[tuple[ToolForm, ...]] = Future()
        """What the plugin says it has; or the `PluginError` that it ended with instead."""
        self._launch = launch
        self._process = Process(launch.paths, launch.environment)
        self.pid = self._process.pid
        self._folder = str(self._process.folder)
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._count = itertools.count(1)
        self._out: deque[bytes] = deque()
        self._over = False
        self._closing: float | None = None
        self._why = ""
        self._ready = False
        self._idle_since = self._began = time.monotonic()
        self._printing = Printing(launch.label)
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        walls = {**self._walls(), "write": [self._folder, "/dev/null"] if launch.scratch else ["/dev/null"]}
        self._post({**launch.hello, "walls": walls})
        self._thread = threading.Thread(target=self._run, name=f"sartor-{launch.label}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether it takes no calls any more."""
        return self._over or self._closing is not None

    def ask(self, told: Mapping[str, object], seconds: float) -> tuple[int, Future[Frame]] | None:
        """Have something done within so many seconds; None where the process takes no call any more.

        The answer is a frame that is an object; `RunError` or `TimeoutError` where there is none."""
        call, number = _Call(time.monotonic() + seconds), next(self._count)
        with self._lock:
            if self.over:
                return None
            if len(self._calls) >= _MOST_CALLS:
                raise RunError(f"{self._launch.label}: {_MOST_CALLS} calls are under way already")
            self._calls[number] = call
        self._post({**told, "call": number})
        return number, call.answer

    def cancel(self, number: int) -> None:
        """Let go of a call, whose time still counts."""
        self._post({"do": "cancel", "call": number})

    def close(self) -> None:
        """End the process, after the plugin had a moment to close what it opened, and wait for that."""
        if self.ask({"do": "close"}, _CLOSING) is not None:
            self._closing = time.monotonic()
        self._ring()
        self._thread.join()

    def kill(self, why: str) -> None:
        """End the process now."""
        self._why = self._why or why
        self._process.kill()

    def _walls(self) -> dict[str, object]:
        walls = self._launch.hello["walls"]
        assert isinstance(walls, dict)
        return {**walls, "read": [*walls["read"], self._folder]}

    def _post(self, told: Mapping[str, object]) -> None:
        self._out.append(frame(told))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it is rung already, or nobody is there any more
            self._bell.send(b"!")

    # The thread

    def _run(self) -> None:
        try:
            self._speak()
        except Exception as error:  # whatever it is: those who wait must hear of it
            self.kill(f"sent {error}" if isinstance(error, Garbled) else "could not be spoken with")
            if not isinstance(error, Garbled | OSError):
                log.exception("%s: what it sent cannot be handled", self._launch.label)
        finally:
            self._end()

    def _speak(self) -> None:
        channel, printed = self._process.channel, self._process.printed
        decoder = Decoder(_FIRST_FRAMES)
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            selector.register(channel, selectors.EVENT_READ)
            while True:
                writing = selectors.EVENT_WRITE if self._out else 0
                selector.modify(channel, selectors.EVENT_READ | writing)
                self._printing.watch(selector, printed.fileno())
                ready = {key.fd: events for key, events in selector.select(self._pause())}
                if printed.fileno() in ready:
                    self._printing.read(selector, printed.fileno())
                if self._ear.fileno() in ready:
                    self._ear.recv(_PIECE)
                got = ready.get(channel.fileno(), 0)
                if got & selectors.EVENT_WRITE:
                    self._write(channel)
                if got & selectors.EVENT_READ:
                    if not (data := channel.recv(_PIECE)):
                        return
                    for told in decoder.feed(data):
                        self._take(told)
                        decoder.longest = self._launch.result_bytes + 1000 if self._ready else _FIRST_FRAMES
                if self._look():
                    return

    def _pause(self) -> float:
        """Seconds for which nothing needs to be looked at."""
        with self._lock:
            deadlines = [call.deadline for call in self._calls.values()]
        if not self._ready:
            deadlines.append(self._began + self._launch.start_seconds)
        elif not deadlines:
            deadlines.append(self._idle_since + self._launch.idle_seconds)
        return max(0.0, min(*deadlines, self._printing.again(), time.monotonic() + 60) - time.monotonic())

    def _write(self, channel: socket.socket) -> None:
        while self._out:
            data = self._out[0]
            try:
                sent = channel.send(data)
            except BlockingIOError:
                return
            if sent < len(data):
                self._out[0] = data[sent:]
                return
            self._out.popleft()

    def _look(self) -> bool:
        """Whether the process is to end now, since a time has passed."""
        now = time.monotonic()
        if not self._ready and now > self._began + self._launch.start_seconds:
            self.kill(f"was not ready within {self._launch.start_seconds:g} seconds and was killed")
            return True
        with self._lock:
            late = [number for number, call in self._calls.items() if now > call.deadline]
            calls = [self._calls.pop(number) for number in late]
            if self._ready and not self._calls and now > self._idle_since + self._launch.idle_seconds:
                self._closing = self._closing or now
            closed = self._closing is not None and (not self._calls or now > self._closing + _CLOSING)
        for call in calls:
            call.answer.set_exception(TimeoutError())
        if calls and self._closing is None:
            self.kill("had a call that did not end in time and was killed")
        return bool(calls) or closed

    def _take(self, told: Frame) -> None:
        """One frame. Raises `Garbled` for what was not asked for."""
        number = told.get("call")
        if not self._ready:
            return self._begin(told)
        if not isinstance(number, int):
            raise Garbled("a frame that answers nothing")
        with self._lock:
            call = self._calls.pop(number, None)
            self._idle_since = time.monotonic()
        if call is None:
            raise Garbled("an answer that nobody waits for")
        call.answer.set_result(told)
        return None

    def _begin(self, told: Frame) -> None:
        match told:
            case {"lacks": list(lacks)} if self._printing.quiet:
                self._printing.quiet = False
                if lacks:
                    self._lacking("; ".join(plain(one, _WORDS) for one in lacks))
            case {"tools": tools}:
                forms = tool_forms(tools)
                self._ready = True
                self._idle_since = time.monotonic()
                self.tools.set_result(forms)
            case {"fault": {"what": what, "where": where, "remedy": remedy}}:
                told_where = None if where is None else plain(where, _WORDS)
                told_remedy = None if remedy is None else plain(remedy, _WORDS)
                self.tools.set_exception(PluginError(plain(what, _WORDS), where=told_where, remedy=told_remedy))
            case _:
                raise Garbled("something else than its tools")

    def _lacking(self, what: str) -> None:
        if self._launch.hello["strict"]:
            self.tools.set_exception(
                PluginError(
                    f"{self._launch.label} is isolated, and this system cannot restrict {what}",
                    remedy="Set `enforce: available` in isolated_plugins to run it with what there is.",
                )
            )
        else:
            log.warning("%s runs without restriction of %s", self._launch.label, what)

    def _end(self) -> None:
        """The process is gone, or goes: all who wait are told."""
        with self._lock:
            self._over = True
            calls, closing = dict(self._calls), self._closing is not None
            self._calls.clear()
        if self._why or self._closing is not None:
            self._process.kill()
        ended, last = self._process.gone()
        self._printing.end(last)
        what = f"{self._launch.label}: its process {self._why or ended}{self._printing.last_words()}"
        error: SartorError = RunError(what)
        for call in calls.values():
            call.answer.set_exception(error)
        if not self.tools.done():
            remedy = "Its limits stand under isolated_plugins in sartor.yaml."
            self.tools.set_exception(PluginError(what, remedy=remedy))
        elif not closing and self.tools.exception() is None:
            log.error("%s; the next call starts another", what)
        self._bell.close()
        self._ear.close()
