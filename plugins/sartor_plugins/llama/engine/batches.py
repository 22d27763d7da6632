"""What goes into the next batch: who reads its prompt, who goes on with its reply, and who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

from sartor_plugins.llama.engine.filling import Filling
from sartor_plugins.llama.engine.pace import Pace
from sartor_plugins.llama.engine.runs import Run, Share, tokens_of
from sartor_plugins.llama.engine.shares import Shares
from sartor_plugins.llama.engine.track import Fork

__all__ = ["Batcher"]

R = TypeVar("R")
E = TypeVar("E")

_ALONE = 5
"""How many times as long a batch may take that reads the only prompt there is: nobody waits for its end but
newcomers, and short stretches of a long prompt take more time in all."""
_TOGETHER = 2.5
"""How many times as long, where several tenants wait for their prompts to be read, and no reply for its next token."""
_HELD = 0.1
"""Seconds for which replies may wait for their next token while prompts are read on credit."""
_CHEAPER = 0.75
"""Share of what tokens of replies cost in a batch of their own, below which they are better computed beside prompts:
near to it, what is written early is missing in the last batches, which are too small then."""
_LENT = 4
"""Replies that a tenant may ask for at once and have its whole credit. Of twice as many at once a quarter is left, and
of four times as many a sixteenth."""


@dataclass(slots=True)
class Batcher:
    """Fills batches, fairly between tenants. Two runs with different adapters never share a batch."""

    size: int
    """Tokens of a batch."""
    rows: int
    """Logits that one batch may give."""
    seconds: float
    """How long a batch may take that reads prompts: replies that are written, and newcomers, wait for its end."""
    rooms: bool = False
    """Whether each sequence has a room of its own. Nothing is gained by computing prompts beside replies then, or
    stretches of prompts of different lengths beside one another: the library takes them one after the other."""
    pace: Pace = field(default_factory=Pace)
    shares: Shares = field(default_factory=Shares)
    trials: int = 0
    """Batches since all replies went along."""
    busy: float = 0.0
    """Seconds that batches have taken so far."""
    _wrote: bool = False
    """Whether the last batch was of replies alone, though prompts could have been read."""

    def padding(self, shares: Sequence[Share[R, E]], between: int = 0) -> int:
        """Tokens for nothing with which the batch of `shares` is faster than without: where all write, for `between`
        sequences at least, which lie between its own."""
        if self.rooms and (self.reads(shares) or (len(shares) == 1 and tokens_of(shares) > 1)):
            return 0  # it would be a batch more
        at_once = sum(share.count for share in shares) if self._drafts_apart(shares) else tokens_of(shares)
        padding = 0 if self.reads(shares) else self.pace.size(at_once + between) - at_once
        return min(padding, self.size - tokens_of(shares))

    def reads(self, shares: Sequence[Share[R, E]]) -> bool:
        """Whether a prompt is read in the batch of `shares`, so that it takes long."""
        return not all(share.run.writes for share in shares)

    def _drafts_apart(self, shares: Sequence[Share[R, E]]) -> bool:
        """Whether the library computes the drafts of `shares` after the rest, in batches of their own."""
        return self.rooms and len(shares) > 1 and any(share.draft for share in shares)

    def note(self, shares: Sequence[Share[R, E]], padding: int, seconds: float) -> None:
        """The batch of `shares` took `seconds`."""
        written = tokens_of([share for share in shares if share.run.writes])
        if not self._drafts_apart(shares):
            self.pace.note(tokens_of(shares) + padding, seconds, written + padding)
        self.busy += seconds
        for share in shares:
            share.run.since = self.busy

    def charge(self, share: Share[R, E]) -> None:
        """`share`, of a reply that has its seat still, was computed."""
        tenant, tokens = share.run.job.tenant, share.count + len(share.draft)
        if share.lent:
            self.shares.lend(tenant, tokens)
        elif not share.free:
            self.shares.charge(tenant, tokens)

    def fill(self, runs: Sequence[Run[R, E]]) -> list[Share[R, E]]:
        """The next batch for `runs`, each of which has a need; empty where a fork is to be computed next, which is
        the run that `fork` gives."""
        weights = {run.job.tenant: run.job.weight for run in runs}
        turn = self.shares.turn(weights)
        if len(runs) == 1 and runs[0].computes and runs[0].writes:  # the usual case, and each microsecond counts
            return self._filled(Filling(self, weights, turn, frozenset()), runs)
        lent = self._lent(runs)
        able = [run for run in runs if run.job.tenant in turn or run in lent]
        first = min(able, key=lambda run: run.step)
        if isinstance(first.need, Fork):
            return []
        mine = [run for run in runs if run.job.adapter == first.job.adapter and run.computes]
        writing = [run for run in mine if run.writes]
        reading = [run for run in mine if not run.writes and (run.job.tenant in turn or run in lent)]
        batch: Filling[R, E] = Filling(self, weights, turn, lent)
        waits = not lent.isdisjoint(reading) and self._may_wait(writing, len(reading))
        if reading and self._apart(writing):
            self._wrote = not (self._wrote or waits)
            if self._wrote:
                batch.write(writing, between=True)
                return batch.shares
            writing = []
        elif waits:
            writing = []
        going = sum(run.job.tenant in turn for run in writing)
        batch.read(reading, going, self.seconds * self._longer(len(runs), reading, writing, lent))
        return self._filled(batch, writing)

    def _filled(self, batch: Filling[R, E], writing: Sequence[Run[R, E]]) -> list[Share[R, E]]:
        batch.write(writing)
        batch.draft()
        return batch.shares

    def _apart(self, writing: Sequence[Run[R, E]]) -> bool:
        """Whether the replies `writing` are faster in a batch of their own than beside prompts that are read."""
        if self.rooms:
            return bool(writing)
        beside, alone = self.pace.beside(len(writing)), self.pace.padded(len(writing))
        return bool(writing) and beside is not None and alone is not None and alone < beside

    def _longer(
        self, runs: int, reading: Sequence[Run[R, E]], writing: Sequence[Run[R, E]], lent: Set[Run[R, E]]
    ) -> float:
        """How much longer than `seconds` a batch for `runs` may take, of whom some are `reading` beside others that are
        `writing`: large batches take less time in all."""
        if runs == 1:
            return _ALONE
        tenants = {run.job.tenant for run in reading}
        return _TOGETHER if not writing and len(tenants) > 1 and all(run in lent for run in reading) else 1

    def _lent(self, runs: Sequence[Run[R, E]]) -> set[Run[R, E]]:
        """Those of `runs` that read a prompt on credit: all where nobody else has work. Of a tenant that asks for many
        replies at once less credit counts."""
        reading = {run for run in runs if run.computes and not run.writes}
        replies = Counter(run.job.tenant for run in runs) if reading else {}
        if len(replies) <= 1:
            return reading
        parts = {tenant: min(1.0, (_LENT / number) ** 2) for tenant, number in replies.items()}
        return {run for run in reading if self.shares.credit(run.job.tenant, parts[run.job.tenant]) > 0}

    def _may_wait(self, writing: Sequence[Run[R, E]], reading: int) -> bool:
        """Whether the replies `writing` wait while `reading` prompts are read on credit: unless that is clearly cheaper
        beside them than once all are written together, or they have waited for long."""
        number = len(writing) + reading
        beside, together = self.pace.beside(number), self.pace.padded(number)
        if not writing or beside is None or together is None or beside < _CHEAPER * together:
            return False
        return self.busy - min(run.since for run in writing) < _HELD

    def fork(self, runs: Sequence[Run[R, E]]) -> Run[R, E]:
        """The run whose fork is to be computed."""
        return min((run for run in runs if isinstance(run.need, Fork)), key=lambda run: run.step)
