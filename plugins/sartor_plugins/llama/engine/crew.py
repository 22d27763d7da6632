"""The replies that are computed at the moment: from a seat in the memory to the last event."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sartor.errors import ModelError, SartorError

from sartor_plugins.llama.engine import forks
from sartor_plugins.llama.engine.batches import Batcher
from sartor_plugins.llama.engine.context import Context, Failed, Full, Part, Rows, Stopped
from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Bell, Job, Plan
from sartor_plugins.llama.engine.memory import Memory
from sartor_plugins.llama.engine.queue import Waiting
from sartor_plugins.llama.engine.runs import Run, Share
from sartor_plugins.llama.engine.track import Compute, Fork, Need, Track
from sartor_plugins.llama.engine.weights import Adapter

__all__ = ["Crew", "Limits", "Machine", "late", "told", "unread"]

R = TypeVar("R")
E = TypeVar("E")
R_contra = TypeVar("R_contra", contravariant=True)
E_co = TypeVar("E_co", covariant=True)

_CROWD = 4
"""How many times `Limits.parallel` replies may run where each is its tenant's only one."""

_TELLING = (0.04, 0.1)
"""Seconds between two wakings of those who read, with few replies and with many, but for first tokens and ends: to wake
an event loop and to let it hand a token on takes the processors a twentieth of the time of a small model's token."""
_TELLING_EACH = 0.006
"""Seconds for each reply, between those two."""

_SEATING = 0.01
"""Seconds between two batches in which newcomers are let in, while replies run."""


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


class Crew(Generic[R, E]):
    """The replies that run on one machine. To be used by the machine's thread only."""

    def __init__(
        self,
        machine: Machine[R, E],
        limits: Limits,
        waiting: Waiting[R, E],
        computing: Callable[[Sequence[Run[R, E]]], contextlib.AbstractContextManager[None]],
        ring: Callable[[Bell], None],
    ) -> None:
        """`computing` is entered for the time in which the library computes for the given replies; `ring` is to ring
        a bell soon, at best while the library computes."""
        self.machine = machine
        self.runs: list[Run[R, E]] = []
        self._limits = limits
        self._waiting = waiting
        self._computing = computing
        self._ring = ring
        self._bells: set[Bell] = set()
        self._urgent = False
        self._rang = 0.0
        self._step = 0
        self._last_end = 0.0

    def untidy_in(self) -> float:
        """Seconds until something in the memory is to be moved."""
        return self.machine.memory.untidy_at - time.monotonic()

    def end_what_is_over(self) -> None:
        """End replies that were cancelled, are over time, or that nobody reads."""
        now = time.monotonic()
        for run in list(self.runs):
            if run.job.cancelled:
                self._leave(run, True)
            elif now > run.job.deadline:
                self._leave(run, late(run.job))
            elif (error := unread(run.job, self._limits, now)) is not None:
                self._leave(run, error)

    def let_in(self) -> None:
        """Give seats to those who wait, tenants with the fewest replies for their weight first.

        A prompt is made of its messages here, which takes milliseconds: not for all at once while replies wait for
        their next token.
        """
        if not self._waiting:
            self.machine.memory.rest()
            return
        until = time.perf_counter() + _SEATING
        while heads := list(self._waiting.heads()):
            counts: dict[str, int] = {}
            for run in self.runs:
                counts[run.job.tenant] = counts.get(run.job.tenant, 0) + 1
            heads.sort(key=lambda job: (counts.get(job.tenant, 0) / job.weight, job.submitted))
            for job in heads:
                alone = job.tenant not in counts
                if len(self.runs) >= self._limits.parallel * (_CROWD if alone else 1):
                    continue
                if self.runs and time.perf_counter() > until:
                    return
                if self._seat(job):
                    break
            else:
                return

    def _seat(self, job: Job[R, E]) -> bool:
        """Begin `job`, or end it where it cannot be done; false where it has to wait."""
        try:
            plan = job.plan = job.plan or self.machine.plan(job.request)
            self.machine.adapter(job.adapter)
            extra = max(min(plan.reply, plan.size - len(plan.prompt)), plan.uncut)
            extra += self._limits.draft if plan.drafts else 0
            room = self.machine.context.sizes.room
            if len(plan.prompt) + extra > room:
                raise ModelError(
                    f"the prompt and the reply need {len(plan.prompt) + extra} tokens, more than the {room} that the "
                    "memory has for one conversation",
                    remedy="Set `context` or `cells` of the model higher, or give it shorter texts to choose from.",
                )
            others = bool(self.runs)
            seat = self.machine.memory.take(plan.scope, plan.prompt, extra, plan.branches, plan.public, patient=others)
            if seat is None and not self.runs:
                need = len(plan.prompt) + extra + plan.branches
                raise ModelError(
                    f"the prompt and the reply need {need} tokens, more than the memory has",
                    remedy="Set `cells` of the model higher, or `max_tokens` lower.",
                )
        except Exception as error:
            self._waiting.remove(job)
            self._tell(job, (), told(error))
            return True
        if seat is None:
            return False
        self._waiting.remove(job)
        job.waited = time.monotonic() - job.submitted
        track = Track(plan.prompt, plan.size, seat.cached)
        drafter = Drafter(self._limits.draft if plan.drafts else 0)
        run = Run(job, seat, track, self.machine.reply(job.request, track), drafter, since=self.machine.batcher.busy)
        self.runs.append(run)
        self._go_on(run)
        return True

    def compute(self) -> None:
        """Compute one batch, or one fork, and let its replies go on."""
        shares: Sequence[Share[R, E]] = self.machine.batcher.fill(self.runs)
        runs = [share.run for share in shares] or [self.machine.batcher.fork(self.runs)]
        if self._urgent or not shares or self.machine.batcher.reads(shares) or self._told_long_ago():
            self.ring()
        self._step += 1
        for run in runs:
            run.step = self._step
        try:
            with self._computing(runs):
                self.machine.context.use(self.machine.adapter(runs[0].job.adapter))
                if shares:
                    rows = self._decode(shares)
                else:
                    self._fork(runs[0])
        except Stopped:
            self._undo(runs)
        except Failed as error:
            self.lose(error)
        except Exception as error:
            self._undo(runs)
            for run in runs:
                self._leave(run, told(error))
        else:
            if not shares:
                self._go_on(runs[0])
            for share, own in zip(shares, rows if shares else (), strict=True):
                self._hand_out(share, own)

    def _decode(self, shares: Sequence[Share[R, E]]) -> list[Rows]:
        """Compute one batch; for each share, its rows of logits."""
        parts = []
        for share in shares:
            track, seat = share.run.track, share.run.seat
            if track.settle():
                self.machine.context.trim(seat.number, len(track.past))
            tokens = [*track.pending[: share.count], *share.draft]
            parts.append(Part((seat.number,), len(track.past), tokens, share.rows))
        between = self.machine.context.between([part.sequences[0] for part in parts])
        padding = self.machine.batcher.padding(shares, len(between))
        if self.machine.context.sizes.apart:
            padding = min(padding, self.machine.context.sizes.sequences - len(parts))
        while True:
            began = time.perf_counter()
            try:
                rows = self.machine.context.compute(parts, padding)
                self.machine.batcher.note(shares, padding, time.perf_counter() - began)
                return rows
            except Full:
                padding = 0
                if not self.machine.memory.spare(shares[0].run.job.tenant):
                    raise ModelError(
                        "the memory of the model is full", remedy="Set `cells` higher or `parallel` lower."
                    ) from None

    def _hand_out(self, share: Share[R, E], rows: Rows) -> None:
        """Let a reply go on with what was computed for it."""
        run, track = share.run, share.run.track
        track.computed(share.count, share.draft, list(rows))
        self.machine.memory.computed(run.seat, len(track.past))
        self.machine.batcher.charge(share)
        if not track.pending:
            accepted = track.accepted
            self._go_on(run)
            run.drafter.learn(len(share.draft), track.accepted - accepted)

    def _fork(self, run: Run[R, E]) -> None:
        """Compute what a reply wants to know of many continuations, and forget it again."""
        assert isinstance(run.need, Fork)
        context, need, track = self.machine.context, run.need, run.track
        if track.settle():
            context.trim(run.seat.number, len(track.past))
        track.freeze()
        tokens = forks.compute(context, self.machine.memory, run.seat, need, len(track.past))
        self.machine.batcher.shares.charge(run.job.tenant, tokens)

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
            self._tell(run.job, said)
            self._leave(run, told(error))
            return
        if run.need is None:
            self._tell(run.job, said)
            self._leave(run, True)
        elif said:
            self._tell(run.job, said)

    def _leave(self, run: Run[R, E], end: BaseException | bool) -> None:
        """The reply is over: what was computed for it is kept, and its caller told."""
        self.runs.remove(run)
        if not self.runs:
            self.machine.batcher.shares.clear()
        run.need = None
        with contextlib.suppress(Exception):
            run.events.close()
        now = time.monotonic()
        self._waiting.served(now - max(self._last_end, run.job.submitted))
        self._last_end = now
        self._tell(run.job, (), end)
        self.ring()  # what is kept may have to be copied first
        if run.track.settle():
            self.machine.context.trim(run.seat.number, len(run.track.past))
        self.machine.memory.leave(run.seat, run.track.past)

    def _undo(self, runs: Sequence[Run[R, E]]) -> None:
        """A batch was not computed: what it did is taken back."""
        for run in runs:
            run.track.settle()
            with contextlib.suppress(ModelError):  # of models that cannot, nothing is kept
                self.machine.context.trim(run.seat.number, len(run.track.past))

    def _told_long_ago(self) -> bool:
        least, most = _TELLING
        return time.monotonic() - self._rang > min(most, max(least, _TELLING_EACH * len(self.runs)))

    def ring(self) -> None:
        """Wake those who were told something: all of an event loop at once, since it costs a change of threads."""
        bells, self._bells = self._bells, set()
        self._urgent = False
        if bells:
            self._rang = time.monotonic()
        for bell in bells:
            self._ring(bell)

    def _tell(self, job: Job[R, E], events: Sequence[E], end: BaseException | bool = False) -> None:
        bell = job.outbox.put(events, end)
        if bell is not None:
            self._bells.add(bell)
            self._urgent = self._urgent or bool(end) or not job.told
        job.told = True

    def lose(self, error: Exception) -> None:
        """The library failed: all replies are over, and nothing of what lies in its memory is trusted any more."""
        for run in self.runs:
            with contextlib.suppress(Exception):
                run.events.close()
            self._tell(run.job, (), told(error))
        self.runs.clear()
        self.machine.memory.clear()


def late(job: Job[R, E]) -> ModelError:
    return ModelError(
        f"the reply took longer than {job.seconds:g} seconds",
        remedy="Set `seconds` of the model higher, or let fewer replies run at once.",
    )


def unread(job: Job[R, E], limits: Limits, now: float) -> ModelError | None:
    """The error that ends `job` where nobody has read for too long what it was told."""
    since = job.outbox.unread_since
    if since is None or now - since <= limits.idle_seconds:
        return None
    return ModelError(f"nobody read the reply for {limits.idle_seconds:g} seconds")


def told(error: Exception) -> SartorError:
    if isinstance(error, SartorError):
        return error
    translated = ModelError(f"the model failed: {type(error).__name__}: {error}")
    translated.__cause__ = error
    return translated
