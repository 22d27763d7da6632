"""What goes into the next batch: tokens of replies that are written, drafts where they pay, stretches of prompts."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job
from sartor_plugins.llama.engine.memory import Seat
from sartor_plugins.llama.engine.pace import DEARER, Pace
from sartor_plugins.llama.engine.shares import Shares
from sartor_plugins.llama.engine.track import Compute, Fork, Need, Track

__all__ = ["Batcher", "Run", "Share"]

R = TypeVar("R")
E = TypeVar("E")

_SHORT = 4
"""Tokens up to which what is pending counts as writing, not as reading a prompt."""
_FEWEST = 32
"""Tokens that a batch which reads prompts may have however slow the machine is: smaller ones waste it."""
_STRETCHED = 2
"""How much longer than others a batch may take that reads a prompt to its end."""
_ALONE = 5
"""How many times as long a batch may take that reads the only prompt there is: nobody waits for its end but
newcomers, and short stretches of a long prompt take more time in all."""
_PATIENCE = 0.25
"""How much of what fairness allows others to slow a tenant down may be used up by replies whose turn it is not: beside
one other tenant its batches may take 1.25 times as long for them, beside 15 others 4.75 times."""
_STEP = 4
"""Numbers of replies that are tried out, to find the one with most tokens a second."""
_AGAIN = 32
"""Batches after which all replies go along once more, to see whether that still is slower."""


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
    trials: int = 0
    """Batches since all replies went along."""

    def padding(self, shares: Sequence[Share[R, E]]) -> int:
        """Tokens for nothing with which the batch of `shares` is faster than without."""
        tokens = _tokens(shares)
        return self.pace.size(tokens) - tokens if all(_writes(share.run) for share in shares) else 0

    def note(self, shares: Sequence[Share[R, E]], padding: int, seconds: float) -> None:
        """The batch of `shares` took `seconds`."""
        written = _tokens([share for share in shares if _writes(share.run)])
        self.pace.note(_tokens(shares) + padding, seconds, written + padding)

    def fill(self, runs: Sequence[Run[R, E]]) -> list[Share[R, E]]:
        """The next batch for `runs`, each of which has a need; empty where a fork is to be computed next, which is
        the run that `fork` gives."""
        weights = {run.job.tenant: run.job.weight for run in runs}
        turn = self.shares.turn(weights)
        first = min((run for run in runs if run.job.tenant in turn), key=lambda run: run.step)
        if isinstance(first.need, Fork):
            return []
        mine = [run for run in runs if run.job.adapter == first.job.adapter and isinstance(run.need, Compute)]
        batch: _Filling[R, E] = _Filling(self, weights, turn)
        seconds = self.seconds * (_ALONE if len(runs) == 1 else 1)
        writing = [run for run in mine if _writes(run)]
        going = sum(run.job.tenant in turn for run in writing)
        batch.read([run for run in mine if run.job.tenant in turn and not _writes(run)], going, seconds)
        batch.write(writing)
        batch.draft()
        return batch.shares

    def fork(self, runs: Sequence[Run[R, E]]) -> Run[R, E]:
        """The run whose fork is to be computed."""
        return min((run for run in runs if isinstance(run.need, Fork)), key=lambda run: run.step)


class _Filling(Generic[R, E]):
    """One batch on its way."""

    def __init__(self, batcher: Batcher, weights: Mapping[str, float], turn: frozenset[str]) -> None:
        """`weights`: of all tenants that have work; `turn`: those of them that may compute now."""
        self._batcher = batcher
        self._pace = batcher.pace
        self._weights = weights
        self._turn = turn
        self._contended = len(weights) > 1
        self._left = batcher.size
        self._rows = batcher.rows
        self._reads = False
        self._spent: dict[str, int] = {}
        self.shares: list[Share[R, E]] = []

    @property
    def _used(self) -> int:
        return self._batcher.size - self._left

    def read(self, runs: Sequence[Run[R, E]], writing: int, seconds: float) -> None:
        """Compute stretches of what `runs` have pending, beside `writing` replies that go along, in about `seconds`.
        Tenants who have little to read are first: it delays the others least."""
        pending: dict[str, int] = {}
        for run in runs:
            pending[run.job.tenant] = pending.get(run.job.tenant, 0) + len(run.track.pending)
        within = self._pace.within(seconds, self._left)
        left = min(self._left, max(_FEWEST - writing, within - DEARER * writing, 1))
        for run in sorted(runs, key=lambda run: (pending[run.job.tenant], run.job.submitted)):
            rest = len(run.track.pending)
            if not self._reads and rest <= min(left * _STRETCHED, self._left):
                left = max(left, rest)  # two batches would take longer
            share = Share(run, min(rest, left, self._affords(run.job.tenant)))
            if share.count > 0 and share.rows <= self._rows:
                left -= share.count
                self._reads = True
                self._add(share)

    def write(self, runs: Sequence[Run[R, E]]) -> None:
        """Compute what `runs` have pending at once: of those whose turn it is as many as give most tokens a second, and
        of the others who do not slow them down beyond measure. These are not charged. Whose turn it is has had least,
        and so comes first."""
        turn, shares = self._turn, self._batcher.shares
        order = sorted(runs, key=lambda run: (shares.had(run.job.tenant), run.step, run.track.written))
        pays = sum(run.job.tenant in turn for run in order)
        for run in order[: self._many([len(run.track.pending) for run in order], pays)]:
            count = len(run.track.pending)
            if count <= self._left and self._rows > 0:
                self._add(Share(run, count, free=run.job.tenant not in turn))

    def _many(self, pending: Sequence[int], pays: int) -> int:
        """How many replies go along, which have `pending` tokens each; the first `pays` of them have their turn."""
        tokens = [0, *itertools.accumulate(pending)]
        best = pays if self._reads else self._fastest(tokens, pays)
        if best < pays or pays == len(pending):
            return best
        alone, together = self._pace.mixed(self._used, tokens[best]), self._pace.mixed(self._used, tokens[-1])
        if alone is None or together is None:
            return best
        most = max(weight for tenant, weight in self._weights.items() if tenant in self._turn)
        patience = 1 + _PATIENCE * (sum(self._weights.values()) / most - 1)
        return len(pending) if together <= patience * alone else best

    def _fastest(self, tokens: Sequence[int], most: int) -> int:
        """The number of replies, up to `most`, with most tokens a second: `tokens` are those of so many together. What
        nothing is known of is tried out."""
        numbers = sorted({1, *range(_STEP, most, _STEP), most} & set(range(1, most + 1)))
        self._batcher.trials += 1
        if not numbers or self._batcher.trials >= _AGAIN:
            self._batcher.trials = 0
            return most
        speeds = {number: tokens[number] / (self._pace.padded(tokens[number]) or 1e-9) for number in numbers}
        return int(max(numbers, key=lambda number: speeds[number]))

    def draft(self) -> None:
        """Put drafts behind the replies that are written, where they pay."""
        if self._reads:
            return  # a batch that reads a prompt is long enough
        for at, share in enumerate(self.shares):
            run, tenant = share.run, share.run.job.tenant
            most = min(self._left, self._rows, run.track.room - share.count, self._affords(tenant))
            guess = run.drafter.guess([*run.track.past, *run.track.pending], most)
            if share.free or not guess:  # of a guess that is not computed the drafter learns, too
                continue
            if draft := guess[: run.drafter.length(self._pace, self._used, len(guess))]:
                self.shares[at] = Share(run, share.count, draft)
                self._take(tenant, len(draft), len(draft))

    def _affords(self, tenant: str) -> int:
        """Tokens that `tenant` may still have of this batch."""
        if not self._contended:
            return self._left
        return self._batcher.shares.left(tenant) - self._spent.get(tenant, 0)

    def _add(self, share: Share[R, E]) -> None:
        self.shares.append(share)
        self._take(share.run.job.tenant, share.count, share.rows)

    def _take(self, tenant: str, tokens: int, rows: int) -> None:
        self._left -= tokens
        self._rows -= rows
        self._spent[tenant] = self._spent.get(tenant, 0) + tokens


def _writes(run: Run[R, E]) -> bool:
    return len(run.track.pending) <= _SHORT


def _tokens(shares: Sequence[Share[R, E]]) -> int:
    return sum(share.count + len(share.draft) for share in shares)
