"""The thread that owns a model and computes the replies of all who ask, together.

Read `Engine._work`: take what came in, end what is over time, let newcomers in, fill a batch, compute it, and let each
reply go on with what it was waiting for.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sartor.errors import ModelError, SartorError

from sartor_plugins.llama.engine.batches import Batcher, Run, Share
from sartor_plugins.llama.engine.context import Context, Failed, Full, Part, Stopped
from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job, Plan
from sartor_plugins.llama.engine.memory import Memory
from sartor_plugins.llama.engine.queue import Waiting
from sartor_plugins.llama.engine.track import Compute, Fork, Need, Place, Track
from sartor_plugins.llama.engine.weights import Adapter

__all__ = ["Engine", "Limits", "Machine"]

R = TypeVar("R")
E = TypeVar("E")
R_contra = TypeVar("R_contra", contravariant=True)
E_co = TypeVar("E_co", covariant=True)

log = logging.getLogger("sartor.llama")

_CROWD = 4
"""How many times `Limits.parallel` replies may run where each is its tenant's only one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine lets happen."""

    parallel: int = 16
    """Replies that are computed together."""
    queue: int = 256
    """Jobs that may wait."""
    idle_seconds: float = 30.0
    """How long a caller may leave what it was given unread."""
    draft: int = 31
    """Tokens of a draft; 0: no speculation."""


class Machine(Protocol[R_contra, E_co]):
    """What an engine works on. Made, used and closed in its thread."""

    @property
    def context(self) -> Context:
        """The context that computes."""

    @property
    def memory(self) -> Memory:
        """What lies in it."""

    @property
    def batcher(self) -> Batcher:
        """What fills its batches."""

    def adapter(self, name: str) -> Adapter | None:
        """The adapter of that name, loaded when it is first asked for; None for ''. Raises `ModelError`."""

    def plan(self, request: R_contra) -> Plan:
        """What a reply will need. Raises `SartorError` where it cannot be given."""

    def reply(self, request: R_contra, track: Track) -> Generator[E_co | Need, None, None]:
        """The events of a reply, and a `Need` wherever it must wait for the engine. Must not block."""

    def close(self) -> None:
        """Free everything."""


class Engine(Generic[R, E]):
    """Computes jobs. The thread, and what it works on, begin with the first one.

    `submit`, `cancel`, `forget` and `close` may be called from any thread.
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
                _end_at_exit(self._lane)
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
        self._runs: list[Run[R, E]] = []
        self._calls: list[_Call[R, E]] = []
        self._computing: Sequence[Run[R, E]] = ()
        self._machine: Machine[R, E] | None = None
        self._ending = False
        self._step = 0
        self._last_end = 0.0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
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
            if self._computing and self._machine and all(run.job.cancelled for run in self._computing):
                self._machine.context.abort.raise_()
            self._news.notify()

    def end(self) -> None:
        """End the thread after what was submitted, and wait for it."""
        with self._news:
            self._ending = True
            if self.abandoned and self._machine:
                self._machine.context.abort.raise_()
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
                self._lose(error)
        for run in self._runs:
            run.events.close()
        self._answer_calls()
        if self._machine is not None:
            self._machine.close()

    def _once(self) -> None:
        """One round."""
        self._answer_calls()
        self._end_what_is_over()
        if self._open():
            self._let_in()
            if self._runs:
                self._step += 1
                self._compute(self._runs)

    def _wait(self) -> bool:
        """Sleep until there is something to do; false when the thread is to end."""
        with self._news:
            while not (self._runs or self._calls or self._ending or self._waiting):
                self._news.wait()
            if self.abandoned:
                return False
            return bool(self._runs or self._calls or self._waiting or not self._ending)

    def _answer_calls(self) -> None:
        with self._news:
            calls, self._calls = self._calls, []
        for call in calls:
            try:
                if call.opens and self._machine is None:
                    self._machine = self._make()
                if self._machine is not None:
                    call.do(self._machine)
            except Exception as error:
                call.error = error
            call.done.set()

    def _open(self) -> bool:
        """Make the machine with the first job; where that fails, all who wait are told."""
        if self._machine is None and self._waiting:
            try:
                self._machine = self._make()
            except Exception as error:
                for job in self._waiting.all():
                    self._waiting.remove(job)
                    job.outbox.put((), error)
        return self._machine is not None

    def _end_what_is_over(self) -> None:
        now = time.monotonic()
        for job in self._waiting.all():
            if job.cancelled or now > job.deadline:
                self._waiting.remove(job)
                job.outbox.put((), True if job.cancelled else _late(job))
        for run in list(self._runs):
            unread = run.job.outbox.unread_since
            if run.job.cancelled:
                self._leave(run, True)
            elif now > run.job.deadline:
                self._leave(run, _late(run.job))
            elif unread is not None and now - unread > self._limits.idle_seconds:
                self._leave(run, ModelError(f"nobody read the reply for {self._limits.idle_seconds:g} seconds"))

    def _let_in(self) -> None:
        """Give seats to those who wait, tenants with the fewest replies for their weight first."""
        while heads := list(self._waiting.heads()):
            counts: dict[str, int] = {}
            for run in self._runs:
                counts[run.job.tenant] = counts.get(run.job.tenant, 0) + 1
            heads.sort(key=lambda job: (counts.get(job.tenant, 0) / job.weight, job.submitted))
            for job in heads:
                alone = job.tenant not in counts
                if len(self._runs) >= self._limits.parallel * (_CROWD if alone else 1):
                    continue
                if self._seat(job):
                    break
            else:
                return

    def _seat(self, job: Job[R, E]) -> bool:
        """Begin `job`, or end it where it cannot be done; false where it has to wait."""
        assert self._machine is not None
        try:
            plan = job.plan = job.plan or self._machine.plan(job.request)
            self._machine.adapter(job.adapter)
            extra = min(plan.reply, plan.size - len(plan.prompt)) + plan.branches + self._limits.draft
            seat = self._machine.memory.take(plan.scope, plan.prompt, extra)
            if seat is None and not self._runs:
                raise ModelError(
                    f"the prompt and the reply need {len(plan.prompt) + extra} tokens, more than the memory has",
                    remedy="Set `cells` of the model higher, or `max_tokens` lower.",
                )
        except Exception as error:
            self._waiting.remove(job)
            job.outbox.put((), _told(error))
            return True
        if seat is None:
            return False
        self._waiting.remove(job)
        job.waited = time.monotonic() - job.submitted
        track = Track(plan.prompt, plan.size, seat.cached)
        drafter = Drafter(self._limits.draft if plan.drafts else 0)
        run = Run(job, seat, track, self._machine.reply(job.request, track), drafter)
        self._runs.append(run)
        self._go_on(run)
        return True

    def _compute(self, ready: Sequence[Run[R, E]]) -> None:
        assert self._machine is not None
        batcher = self._machine.batcher
        shares: Sequence[Share[R, E]] = batcher.fill(ready)
        forked = None if shares else batcher.fork(ready)
        runs = [share.run for share in shares] if forked is None else [forked]
        for run in runs:
            run.step = self._step
        with self._news:
            self._computing = runs
            if all(run.job.cancelled for run in runs):
                self._machine.context.abort.raise_()
        began = time.perf_counter()
        try:
            self._machine.context.use(self._machine.adapter(runs[0].job.adapter))
            if forked is not None:
                self._fork(forked)
            else:
                places = self._decode(shares)
        except Stopped:
            self._undo(runs)
            return
        except Failed as error:
            self._lose(error)
            return
        except Exception as error:
            self._undo(runs)
            for run in runs:
                self._leave(run, _told(error))
            return
        finally:
            with self._news:
                self._computing = ()
                self._machine.context.abort.lower()
        if forked is None:
            batcher.pace.note(sum(share.count + len(share.draft) for share in shares), time.perf_counter() - began)
            for share, place in zip(shares, places, strict=True):
                self._hand_out(share, place)
        else:
            self._go_on(forked)

    def _decode(self, shares: Sequence[Share[R, E]]) -> list[int]:
        """Compute one batch; for each share, the place of its first row."""
        assert self._machine is not None
        parts = []
        for share in shares:
            track, seat = share.run.track, share.run.seat
            if track.settle():
                self._machine.context.trim(seat.number, len(track.past))
            tokens = [*track.pending[: share.count], *share.draft]
            parts.append(Part((seat.number,), len(track.past), tokens, share.rows))
        while True:
            try:
                return self._machine.context.compute(parts)
            except Full:
                if not self._machine.memory.spare(shares[0].run.job.tenant):
                    raise ModelError(
                        "the memory of the model is full", remedy="Set `cells` higher or `parallel` lower."
                    ) from None

    def _hand_out(self, share: Share[R, E], place: int) -> None:
        """Let a reply go on with what was computed for it."""
        assert self._machine is not None
        run, track = share.run, share.run.track
        context = self._machine.context
        track.computed(share.count, share.draft, [context.row(place + at) for at in range(share.rows)])
        run.seat.computed = len(track.past)
        if not share.free:
            self._machine.batcher.shares.charge(run.job.tenant, share.count + len(share.draft))
        if not track.pending:
            accepted = track.accepted
            self._go_on(run)
            run.drafter.learn(len(share.draft), track.accepted - accepted)

    def _fork(self, run: Run[R, E]) -> None:
        """Compute what a reply wants to know of many continuations, and forget it again."""
        assert self._machine is not None and isinstance(run.need, Fork)
        context, memory, need, track = self._machine.context, self._machine.memory, run.need, run.track
        if track.settle():
            context.trim(run.seat.number, len(track.past))
        track.freeze()
        numbers = memory.lend(run.seat, need.branches, len(need.places))
        try:
            if len(numbers) < need.branches:
                raise ModelError("the memory has no room to compare so many texts", remedy="Set `cells` higher.")
            for number in numbers:
                context.copy(run.seat.number, number, len(track.past))
            for at in range(0, len(need.places), context.most_rows):
                part = need.places[at : at + context.most_rows]
                rows = context.compute([_part(place, numbers, len(track.past)) for place in part])
                for number, row in enumerate(rows):
                    need.read(at + number, context.row(row))
        finally:
            memory.give_back(numbers)
        self._machine.batcher.shares.charge(run.job.tenant, len(need.places))

    def _go_on(self, run: Run[R, E]) -> None:
        """Let the reply work until it waits for the engine again, and hand its events over."""
        said: list[E] = []
        run.need = None
        try:
            for event in run.events:
                if isinstance(event, Compute | Fork):
                    run.need = event
                    break
                said.append(event)
        except Exception as error:
            run.job.outbox.put(said)
            self._leave(run, _told(error))
            return
        if run.need is None:
            run.job.outbox.put(said)
            self._leave(run, True)
        elif said:
            run.job.outbox.put(said)

    def _leave(self, run: Run[R, E], end: BaseException | bool) -> None:
        """The reply is over: what was computed for it is kept, and its caller told."""
        assert self._machine is not None
        self._runs.remove(run)
        run.need = None
        with contextlib.suppress(Exception):
            run.events.close()
        if run.track.settle():
            self._machine.context.trim(run.seat.number, len(run.track.past))
        self._machine.memory.leave(run.seat, run.track.past)
        now = time.monotonic()
        self._waiting.served(now - max(self._last_end, run.job.submitted))
        self._last_end = now
        run.job.outbox.put((), end)

    def _undo(self, runs: Sequence[Run[R, E]]) -> None:
        """A batch was not computed: what it did is taken back."""
        assert self._machine is not None
        for run in runs:
            run.track.settle()
            with contextlib.suppress(ModelError):  # of models that cannot, nothing is kept
                self._machine.context.trim(run.seat.number, len(run.track.past))

    def _lose(self, error: Exception) -> None:
        """The library failed: all replies are over, and nothing of what lies in its memory is trusted any more."""
        told = _told(error)
        for run in self._runs:
            with contextlib.suppress(Exception):
                run.events.close()
            run.job.outbox.put((), told)
        self._runs.clear()
        if self._machine is not None:
            self._machine.memory.clear()


def _part(place: Place, numbers: Sequence[int], length: int) -> Part:
    return Part(tuple(numbers[branch] for branch in place.branches), length + place.depth, [place.token])


def _late(job: Job[R, E]) -> ModelError:
    return ModelError(
        f"the reply took longer than {job.seconds:g} seconds",
        remedy="Set `seconds` of the model higher, or let fewer replies run at once.",
    )


def _told(error: Exception) -> SartorError:
    if isinstance(error, SartorError):
        return error
    told = ModelError(f"the model failed: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told


def _end_at_exit(lane: _Lane[R, E]) -> None:
    """A thread inside native code while the interpreter goes down would crash it."""
    known = weakref.ref(lane)

    def end() -> None:
        if (found := known()) is not None:
            found.abandoned = True
            found.end()

    atexit.register(end)
