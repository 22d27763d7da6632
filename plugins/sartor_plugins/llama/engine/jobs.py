"""Work for the engine, and the way of its results to whoever waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from sartor_plugins.llama.engine.prefixes import Scope

__all__ = ["AsyncOutbox", "Bell", "Job", "LoopBell", "Outbox", "Plan", "SyncOutbox"]

R = TypeVar("R")
E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job will need."""

    prompt: Sequence[int]
    scope: Scope
    reply: int
    """Tokens that the reply may have at most."""
    size: int
    """Tokens that prompt and reply may have together."""
    uncut: int = 0
    """Tokens of a reply that is chosen among texts: it must have room, whatever `size` says."""
    branches: int = 0
    """Of a fork, at most."""
    drafts: bool = True
    """Whether the reply may profit from drafts."""
    public: int = 0
    """Tokens at the start of the prompt that hold nothing of a tenant, and may be computed once for all of them."""


class Bell(Protocol):
    """Tells somebody that there is something in outboxes; one may stand for many of them."""

    def ring(self) -> None:
        """Tell them. May be called from any thread."""


class Outbox(Protocol[E_contra]):
    """Where the events of a job go."""

    unread_since: float | None
    """Since when (`time.monotonic`) something lies there that nobody has taken."""

    def put(self, events: Sequence[E_contra], end: BaseException | bool = False) -> Bell | None:
        """Called in the engine's thread: further events; `end`: True or an error after the last of them.

        Gives the bell to ring where somebody sleeps until there is something.
        """


class Job(Generic[R, E]):
    """A reply that was asked for: `request` is what the engine's machine makes it of."""

    def __init__(
        self,
        request: R,
        outbox: Outbox[E],
        *,
        tenant: str = "",
        weight: float = 1.0,
        adapter: str = "",
        seconds: float = 300.0,
    ) -> None:
        """`weight`: the tenant's share beside others; `seconds`: until it must be over, the queue counted in."""
        self.request = request
        self.outbox = outbox
        self.tenant = tenant
        self.weight = weight
        self.adapter = adapter
        self.plan: Plan | None = None
        """What it will need, once that is known."""
        self.cancelled = False
        self.submitted = time.monotonic()
        self.deadline = self.submitted + seconds
        self.seconds = seconds
        self.waited = 0.0
        """Seconds in the queue, once the work has begun."""
        self.told = False
        """Whether anything was told of it yet."""


class LoopBell:
    """Wakes the tasks of one event loop that wait for the engine."""

    _known: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBell]] = weakref.WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._sleepers: list[asyncio.Future[None]] = []

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> LoopBell:
        """The bell of `loop`. To be called in its thread."""
        return cls._known.setdefault(loop, cls(loop))

    def add(self, sleeper: asyncio.Future[None]) -> LoopBell:
        """Let the next `ring` wake `sleeper`."""
        with self._lock:
            self._sleepers.append(sleeper)
        return self

    def ring(self) -> None:
        """Wake them. May be called from any thread."""
        with self._lock:
            sleepers, self._sleepers = self._sleepers, []
        loop = self._loop()
        if sleepers and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(_wake, sleepers)


class SyncOutbox(Generic[E]):
    """An outbox for a caller's thread."""

    def __init__(self) -> None:
        self.unread_since: float | None = None
        self._events: list[E] = []
        self._end: BaseException | bool = False
        self._changed = threading.Condition()

    def put(self, events: Sequence[E], end: BaseException | bool = False) -> Bell | None:
        with self._changed:
            self._events.extend(events)
            self._end = end
            if events and self.unread_since is None:
                self.unread_since = time.monotonic()
            self._changed.notify()
        return None

    def take(self) -> Sequence[E]:
        """The events that there are, at least one; none after the last. Raises what ended the job."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._end)
            events, self._events, self.unread_since = self._events, [], None
        if not events:
            _raise(self._end)
        return events


class AsyncOutbox(Generic[E]):
    """An outbox for a task of an event loop, which is woken only when it sleeps."""

    def __init__(self) -> None:
        self.unread_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._events: list[E] = []
        self._end: BaseException | bool = False
        self._lock = threading.Lock()
        self._sleeper: asyncio.Future[None] | None = None
        self._bell = LoopBell.of(self._loop)

    def put(self, events: Sequence[E], end: BaseException | bool = False) -> Bell | None:
        with self._lock:
            self._events.extend(events)
            self._end = end
            if events and self.unread_since is None:
                self.unread_since = time.monotonic()
            sleeper, self._sleeper = self._sleeper, None
        return self._bell.add(sleeper) if sleeper is not None else None

    async def take(self) -> Sequence[E]:
        """The events that there are, at least one; none after the last. Raises what ended the job."""
        while True:
            with self._lock:
                events, self._events, self.unread_since = self._events, [], None
                if not events and not self._end:
                    sleeper = self._sleeper = self._loop.create_future()
            if events:
                return events
            if self._end:
                _raise(self._end)
                return ()
            await sleeper


def _raise(end: BaseException | bool) -> None:
    if isinstance(end, BaseException):
        raise end


def _wake(sleepers: Sequence[asyncio.Future[None]]) -> None:
    for sleeper in sleepers:
        if not sleeper.done():
            sleeper.set_result(None)
