"""One batch on its way: stretches of prompts, tokens of replies that are written, drafts where they pay."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Generic, TypeVar

from sartor_plugins.llama.engine.context import EVEN
from sartor_plugins.llama.engine.runs import Run, Share

if TYPE_CHECKING:
    from sartor_plugins.llama.engine.batches import Batcher

__all__ = ["Filling"]

R = TypeVar("R")
E = TypeVar("E")

_FEWEST = 64
"""Tokens that a batch which reads prompts may have however slow the machine is: smaller ones waste it. Below 64
llama.cpp takes another routine on a CPU, which needs half as long again for each token behind a thousand others."""
_LATER = 4
"""Of prompts that are read on credit, a long one goes behind those that come within so many times as long as it takes:
so short ones wait little, and long ones not for ever."""
_STRETCHED = 2
"""How much longer than others a batch may take that reads a prompt to its end."""
_PATIENCE = 0.35
"""How much of what fairness allows others to slow a tenant down may be used up by replies whose turn it is not: beside
one other tenant its batches may take 1.35 times as long for them, beside 15 others 6.25 times."""
_STEP = 4
"""Numbers of replies that are tried out, to find the one with most tokens a second."""
_AGAIN = 32
"""Batches after which all replies go along once more, to see whether that still is slower."""


class Filling(Generic[R, E]):
    """One batch on its way."""

    def __init__(
        self, batcher: Batcher, weights: Mapping[str, float], turn: frozenset[str], lent: Set[Run[R, E]]
    ) -> None:
        """`weights`: of all tenants that have work; `turn`: those of them that may compute now; `lent`: who reads on
        credit."""
        self._batcher = batcher
        self._pace = batcher.pace
        self._weights = weights
        self._turn = turn
        self._lent = lent
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
        """Compute stretches of what `runs` have pending, beside `writing` replies that go along, in about `seconds`."""
        pending: dict[str, int] = {}
        for run in runs:
            pending[run.job.tenant] = pending.get(run.job.tenant, 0) + len(run.track.pending)
        within = self._pace.within(seconds, self._left)
        left = min(self._left, max(_FEWEST - writing, within - int(self._pace.dearer * writing), 1))
        for run in sorted(runs, key=lambda run: self._place(run, pending[run.job.tenant])):
            rest = len(run.track.pending)
            at_once = rest <= min(left * _STRETCHED, self._left)
            if self._reads and self._batcher.rooms:
                if not at_once or abs(rest - self.shares[0].count) > EVEN:
                    continue  # the library would take it after the others
            elif self._reads:
                at_once = False
            if at_once:
                left = max(left, rest)  # two batches would take longer
            lent = run in self._lent
            share = Share(run, min(rest, left, self._affords(run.job.tenant, lent=lent)), lent=lent)
            if share.count > 0 and share.rows <= self._rows:
                left -= share.count
                self._reads = True
                self._add(share)

    def _place(self, run: Run[R, E], pending: int) -> tuple[bool, float, float]:
        """Where `run` stands in the line of those who read: first those on credit, then tenants who have little to
        read, `pending` tokens in all, since that delays the others least."""
        if run in self._lent:
            return False, run.job.submitted + _LATER * self._pace.reading(len(run.track.pending)), 0.0
        return True, pending, run.job.submitted

    def write(self, runs: Sequence[Run[R, E]], *, between: bool = False) -> None:
        """Compute what `runs` have pending at once: of those whose turn it is as many as give most tokens a second, and
        of the others who do not slow them down beyond measure. These are not charged. Whose turn it is has had least,
        and so comes first. All go along in a batch `between` two that read prompts, since the next is far away."""
        turn, shares = self._turn, self._batcher.shares
        order = sorted(runs, key=lambda run: (shares.had(run.job.tenant), run.step, run.track.written))
        pays = sum(run.job.tenant in turn for run in order)
        many = len(order) if between else self._many([len(run.track.pending) for run in order], pays)
        for run in order[:many]:
            count = len(run.track.pending)
            if count <= self._left and self._rows > 0:
                self._add(Share(run, count, free=run.job.tenant not in turn))

    def _many(self, pending: Sequence[int], pays: int) -> int:
        """How many replies go along, which have `pending` tokens each; the first `pays` of them have their turn."""
        tokens = [0, *itertools.accumulate(pending)]
        best = pays if self._reads or pays <= 1 else self._fastest(tokens, pays)
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
        pace = self._pace
        several = self._batcher.rooms and len(self.shares) > 1
        apart = pace.padded(self._used) if several else None
        if several and apart is None:
            return  # learn first what a batch without a draft takes
        for at, share in enumerate(self.shares):
            run, tenant = share.run, share.run.job.tenant
            most = min(self._left, self._rows, run.track.room - share.count, self._affords(tenant))
            guess = run.drafter.guess([*run.track.past, *run.track.pending], most)
            if share.free or not guess:  # of a guess that is not computed the drafter learns, too
                continue
            if draft := guess[: run.drafter.length(pace, self._used, len(guess), apart)]:
                self.shares[at] = Share(run, share.count, draft)
                self._take(tenant, len(draft), len(draft))
                if apart is not None:
                    apart += pace.seconds(len(draft)) or 0.0

    def _affords(self, tenant: str, *, lent: bool = False) -> int:
        """Tokens that `tenant` may still have of this batch; `lent`: on credit, too."""
        if not self._contended:
            return self._left
        shares = self._batcher.shares
        own = shares.left(tenant) if tenant in self._turn else 0
        return own + (shares.credit(tenant) if lent else 0) - self._spent.get(tenant, 0)

    def _add(self, share: Share[R, E]) -> None:
        self.shares.append(share)
        self._take(share.run.job.tenant, share.count, share.rows)

    def _take(self, tenant: str, tokens: int, rows: int) -> None:
        self._left -= tokens
        self._rows -= rows
        self._spent[tenant] = self._spent.get(tenant, 0) + tokens
