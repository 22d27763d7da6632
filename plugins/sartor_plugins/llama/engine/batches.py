"""What goes into the next batch: tokens of replies that are written, drafts where they pay, stretches of prompts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job
from sartor_plugins.llama.engine.memory import Seat
from sartor_plugins.llama.engine.pace import Pace
from sartor_plugins.llama.engine.shares import Shares
from sartor_plugins.llama.engine.track import Compute, Fork, Need, Track

__all__ = ["Batcher", "Run", "Share"]

R = TypeVar("R")
E = TypeVar("E")

_SHORT = 4
"""Tokens up to which what is pending counts as writing, not as reading a prompt."""
_FEWEST = 32
"""Tokens of prompts that a batch may have however slow the machine is: smaller batches waste it."""
_RIDE = 1.1
"""How much longer a batch may take for tokens of tenants whose turn it is not."""


@dataclass(slots=True, eq=False)
class Run(Generic[R, E]):
    """A reply that is being computed."""

    job: Job[R, E]
    seat: Seat
    track: Track
    events: Generator[E | Need, None, None]
    drafter: Drafter
    need: Need | None = None
    """What it waits for."""
    step: int = 0
    """The batch in which it was computed last."""


@dataclass(frozen=True, slots=True)
class Share(Generic[R, E]):
    """What a batch computes of one reply."""

    run: Run[R, E]
    count: int
    """Pending tokens."""
    draft: Sequence[int] = ()
    free: bool = False
    """Whether it comes along for nothing."""

    @property
    def rows(self) -> int:
        """Logits that are wanted: none where the prompt is not read to its end."""
        return 1 + len(self.draft) if self.count == len(self.run.track.pending) else 0


@dataclass(slots=True)
class Batcher:
    """Fills batches, fairly between tenants. Two runs with different adapters never share a batch."""

    size: int
    """Tokens of a batch."""
    rows: int
    """Logits that one batch may give."""
    seconds: float
    """How long a batch may take that reads prompts: replies that are written, and newcomers, wait for its end."""
    pace: Pace = field(default_factory=Pace)
    shares: Shares = field(default_factory=Shares)

    def fill(self, runs: Sequence[Run[R, E]]) -> list[Share[R, E]]:
        """The next batch for `runs`, each of which has a need; empty where a fork is to be computed next, which is
        the run that `fork` gives."""
        weights = {run.job.tenant: run.job.weight for run in runs}
        turn = self.shares.turn(weights)
        first = min((run for run in runs if run.job.tenant in turn), key=lambda run: run.step)
        if isinstance(first.need, Fork):
            return []
        mine = [run for run in runs if run.job.adapter == first.job.adapter and isinstance(run.need, Compute)]
        batch: _Filling[R, E] = _Filling(self, contended=len(weights) > 1)
        paying = [run for run in mine if run.job.tenant in turn]
        for run in paying:
            if _writes(run):
                batch.write(run)
        for run in sorted(paying, key=lambda run: (-self.shares.left(run.job.tenant), run.job.submitted)):
            if not _writes(run):
                batch.read(run)
        batch.draft()
        batch.ride([run for run in mine if run.job.tenant not in turn and _writes(run)])
        return batch.shares

    def fork(self, runs: Sequence[Run[R, E]]) -> Run[R, E]:
        """The run whose fork is to be computed."""
        return min((run for run in runs if isinstance(run.need, Fork)), key=lambda run: run.step)


class _Filling(Generic[R, E]):
    """One batch on its way."""

    def __init__(self, batcher: Batcher, *, contended: bool) -> None:
        self._batcher = batcher
        self._contended = contended
        self._left = batcher.size
        self._rows = batcher.rows
        self._to_read = min(batcher.size, max(_FEWEST, batcher.pace.within(batcher.seconds, batcher.size)))
        self._reads = False
        self._spent: dict[str, int] = {}
        self.shares: list[Share[R, E]] = []

    def write(self, run: Run[R, E], *, free: bool = False) -> None:
        """Compute what `run` has pending, at once."""
        count = len(run.track.pending)
        if count <= self._left and self._rows > 0:
            self._add(Share(run, count, free=free))

    def read(self, run: Run[R, E]) -> None:
        """Compute a stretch of what `run` has pending."""
        tenant = run.job.tenant
        most = min(self._left, self._to_read)
        if self._contended:
            most = min(most, self._batcher.shares.left(tenant) - self._spent.get(tenant, 0))
        share = Share(run, min(len(run.track.pending), most))
        if share.count > 0 and share.rows <= self._rows:
            self._to_read -= share.count
            self._reads = True
            self._add(share)

    def draft(self) -> None:
        """Put drafts behind the replies that are written, where they pay."""
        if self._reads:
            return  # a batch that reads a prompt is long enough
        for at, share in enumerate(self.shares):
            run, tenant = share.run, share.run.job.tenant
            used = self._batcher.size - self._left
            most = min(
                run.drafter.length(self._batcher.pace, used - 1), self._left, self._rows, run.track.room - share.count
            )
            if self._contended:
                most = min(most, self._batcher.shares.left(tenant) - self._spent[tenant])
            draft = run.drafter.guess([*run.track.past, *run.track.pending], most)
            if draft:
                self.shares[at] = Share(run, share.count, draft)
                self._take(tenant, len(draft), len(draft))

    def ride(self, runs: Sequence[Run[R, E]]) -> None:
        """Let replies of other tenants come along for nothing, as far as they do not slow the batch down."""
        pace = self._batcher.pace
        for run in runs:
            used = self._batcher.size - self._left
            alone, together = pace.seconds(used), pace.seconds(used + len(run.track.pending))
            if alone is None or together is None or together > _RIDE * alone:
                return
            self.write(run, free=True)

    def _add(self, share: Share[R, E]) -> None:
        self.shares.append(share)
        self._take(share.run.job.tenant, share.count, share.rows)

    def _take(self, tenant: str, tokens: int, rows: int) -> None:
        self._left -= tokens
        self._rows -= rows
        self._spent[tenant] = self._spent.get(tenant, 0) + tokens


def _writes(run: Run[R, E]) -> bool:
    return len(run.track.pending) <= _SHORT
