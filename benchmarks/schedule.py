"""Whose prompt is read when, and who waits for it: ``python -m benchmarks.schedule``.

No model: the engine's batcher fills batches for requests that come as each scenario says, and each batch takes what one
of its size took on two cores with a model of 135M (Q8_0). So the same run gives the same figures everywhere. Beside the
batcher as it is stand the same without credit for prompts (each prompt is read in turn with the tokens of others), and
the usual way of servers: first come, first read, in batches of 64 or 512 tokens in which every reply goes along. Each
conversation has a room of its own in the memory; the last line is the batcher where all share one.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sartor_plugins.llama.engine.batches import Batcher
from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job, SyncOutbox
from sartor_plugins.llama.engine.memory import Seat
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.runs import Run, Share
from sartor_plugins.llama.engine.shares import Shares
from sartor_plugins.llama.engine.track import COMPUTE, Track

from benchmarks.engine.report import p95

_WRITTEN = {1: 5, 2: 14, 3: 17, 4: 20, 8: 25, 12: 30, 13: 36, 15: 37, 16: 28, 17: 32, 24: 48, 32: 52, 512: 845}
"""Milliseconds of a batch of so many tokens of replies."""
_READ_SHARED, _READ = 1.2, 1.0
"""Milliseconds for a token of a prompt, in a memory that all share and in rooms. There one of a reply beside it takes
twice as long; in rooms, the replies take as long as alone."""
_PARALLEL, _CROWD = 16, 4
"""Replies that run at once; so many times as many where each is its tenant's only one."""


@dataclass(order=True)
class Asked:
    """A request, and what became of it."""

    at: float
    number: int
    tenant: str = field(compare=False)
    prompt: int = field(compare=False)
    """Tokens."""
    left: int = field(compare=False)
    """Tokens of the reply that are still to come."""
    then: Callable[[], Asked | None] = field(compare=False, default=lambda: None)
    """The request that its end leads to."""
    first: float = field(compare=False, default=0.0)
    """Seconds to the first token, in `gap` between two at most, and in `whole` to the last."""
    gap: float = field(compare=False, default=0.0)
    whole: float = field(compare=False, default=0.0)
    last: float = field(compare=False, default=0.0)


_Run = Run[Asked, Any]
_Share = Share[Asked, Any]


class Filler(Protocol):
    """Fills batches."""

    shares: Shares

    def fill(self, runs: Sequence[_Run]) -> list[_Share]:
        """The next batch."""

    def padding(self, shares: Sequence[_Share]) -> int:
        """Tokens for nothing beside it."""

    def note(self, shares: Sequence[_Share], padding: int, seconds: float) -> None:
        """It took so long."""

    def charge(self, share: _Share) -> None:
        """A share of it was computed."""


class Server:
    """Every reply goes along in each batch, and prompts fill it up in the order in which they came."""

    def __init__(self, size: int) -> None:
        self.shares = Shares()
        self._size = size

    def fill(self, runs: Sequence[_Run]) -> list[_Share]:
        """The next batch."""
        shares = [Share(run, len(run.track.pending)) for run in runs if run.writes]
        left = max(1, self._size - len(shares))
        for run in sorted((run for run in runs if not run.writes), key=lambda run: run.job.submitted):
            if left:
                shares.append(Share(run, min(left, len(run.track.pending))))
                left -= shares[-1].count
        return shares

    def padding(self, shares: Sequence[_Share]) -> int:
        """None."""
        return 0

    def note(self, shares: Sequence[_Share], padding: int, seconds: float) -> None:
        """It learns nothing."""

    def charge(self, share: _Share) -> None:
        """Nobody is charged."""


def batcher(*, rooms: bool = True, **shares: int) -> Batcher:
    """The engine's own, which knows the machine."""
    made = Batcher(512, 512, 0.05, rooms=rooms, shares=Shares(**shares))
    for tokens, milliseconds in _WRITTEN.items():
        made.pace.note(tokens, milliseconds / 1000)
    made.pace.note(100, cost(100, 0, rooms=rooms), written=0)
    return made


class Simulation:
    """One scenario under one policy."""

    def __init__(self, filler: Filler, asked: Sequence[Asked], *, rooms: bool = True) -> None:
        self.done: list[Asked] = []
        self.seconds = 0.0
        self._filler = filler
        self._rooms = rooms
        self._coming = [*asked]
        heapq.heapify(self._coming)
        self._waiting: list[Asked] = []
        self._runs: list[_Run] = []

    def run(self) -> Simulation:
        """Until all is done."""
        while self._coming or self._waiting or self._runs:
            if not self._runs and not self._waiting:
                self.seconds = max(self.seconds, self._coming[0].at)
            while self._coming and self._coming[0].at <= self.seconds:
                self._waiting.append(heapq.heappop(self._coming))
            while self._seat():
                pass
            self._compute()
        return self

    def _seat(self) -> bool:
        counts = {run.job.tenant: 0 for run in self._runs}
        for run in self._runs:
            counts[run.job.tenant] += 1
        for one in sorted(self._waiting, key=lambda one: (counts.get(one.tenant, 0), one.at)):
            if len(self._runs) < _PARALLEL * (1 if one.tenant in counts else _CROWD):
                self._waiting.remove(one)
                prompt = [*range(1000, 1000 + one.prompt)]
                job: Job[Asked, Any] = Job(one, SyncOutbox(), tenant=one.tenant)
                job.submitted = one.last = one.at
                seat = Seat(0, Scope(one.tenant), prompt, 0, 0, 0)
                self._runs.append(Run(job, seat, Track(prompt, 10**6), iter_nothing(), Drafter(0), COMPUTE))
                return True
        return False

    def _compute(self) -> None:
        shares = self._filler.fill(self._runs)
        padding = self._filler.padding(shares)
        written = sum(share.count for share in shares if share.run.writes)
        seconds = cost(sum(share.count for share in shares) - written, written + padding, rooms=self._rooms)
        self.seconds += seconds
        self._filler.note(shares, padding, seconds)
        for share in shares:
            share.run.step += 1
            self._filler.charge(share)
            share.run.track.computed(share.count)
            if not share.run.track.pending:
                self._written(share.run)

    def _written(self, run: _Run) -> None:
        """The next token of a reply is known."""
        one = run.job.request
        if one.first:
            one.gap = max(one.gap, self.seconds - one.last)
        one.first = one.first or self.seconds - one.at
        one.last = self.seconds
        one.left -= 1
        if one.left:
            run.track.push([7])
            return
        one.whole = self.seconds - one.at
        self._runs.remove(run)
        self.done.append(one)
        if not self._runs:
            self._filler.shares.clear()
        if (following := one.then()) is not None:
            following.at = self.seconds + 0.002
            heapq.heappush(self._coming, following)


def iter_nothing() -> Any:
    """A reply that says nothing: the simulation speaks for it."""
    yield from ()


def cost(read: int, written: int, *, rooms: bool) -> float:
    """Seconds of a batch of `read` tokens of prompts and `written` ones of replies."""
    if read and not rooms:
        return (3 + _READ_SHARED * (read + 2 * written)) / 1000
    if read:
        return (3 + _READ * read) / 1000 + (cost(0, written, rooms=True) if written else 0.0)
    low, high = max(at for at in _WRITTEN if at <= written), min(at for at in _WRITTEN if at >= written)
    share = (written - low) / (high - low) if high > low else 0.0
    return (_WRITTEN[low] + share * (_WRITTEN[high] - _WRITTEN[low])) / 1000


Scenario = Callable[[], list[Asked]]


def at_once(prompt: int, reply: int) -> Scenario:
    """Sixteen tenants ask at once."""
    return lambda: [Asked(0, number, f"tenant-{number}", prompt, reply) for number in range(16)]


def newcomer(others: int) -> Scenario:
    """A prompt of 500 tokens comes while `others` read their replies."""
    return lambda: [
        *(Asked(0, number, f"tenant-{number}", 64, 600) for number in range(others)),
        Asked(2, 100, "newcomer", 500, 100),
    ]


def neighbour() -> list[Asked]:
    """A tenant asks a hundred times at once; a quiet one waits for each of its twenty replies."""
    numbers = itertools.count(1000)

    def follow(left: int) -> Callable[[], Asked | None]:
        return lambda: Asked(0, next(numbers), "quiet", 64, 16, follow(left - 1)) if left else None

    return [*(Asked(0, number, "noisy", 64, 48) for number in range(100)), Asked(0.5, 999, "quiet", 64, 16, follow(19))]


def at_random() -> list[Asked]:
    """Thirty tenants ask at random, so that the machine is busy for about two thirds of the time."""
    chance, at, asked = random.Random(3), 0.0, []
    for number in range(200):
        at += chance.expovariate(0.7)
        asked.append(Asked(at, number, f"tenant-{chance.randrange(30)}", chance.randrange(100, 900), 100))
    return asked


SCENARIOS: dict[str, tuple[Scenario, str]] = {
    "16 at once, prompts of 64, replies of 48": (at_once(64, 48), ""),
    "16 at once, prompts of 600, replies of 100": (at_once(600, 100), ""),
    "a prompt of 500 beside 15 replies": (newcomer(15), "newcomer"),
    "the 15 beside it": (newcomer(15), "tenant"),
    "a prompt of 500 beside one reply": (newcomer(1), "newcomer"),
    "a quiet tenant beside 100 requests at once": (neighbour, "quiet"),
    "those 100": (neighbour, "noisy"),
    "30 tenants at random, prompts of 100 to 900, replies of 100": (at_random, ""),
}
"""Each with the beginning of the names of the tenants that are told of."""
_SHARED = "engine, one memory for all"
POLICIES: dict[str, Callable[[], Filler]] = {
    "engine": batcher,
    "without credit": lambda: batcher(credit=0),
    "first come, 512": lambda: Server(512),
    "first come, 64": lambda: Server(64),
    _SHARED: lambda: batcher(rooms=False),
}


def main() -> None:
    """Print a table for each scenario."""
    for title, (scenario, tenants) in SCENARIOS.items():
        print(f"\n**{title}**: seconds\n")
        print("| | first token | p95 | whole reply | p95 | longest gap, mean | all done after |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, policy in POLICIES.items():
            told = Simulation(policy(), scenario(), rooms=name != _SHARED).run()
            done = [one for one in told.done if one.tenant.startswith(tenants)]
            first, whole = [one.first for one in done], [one.whole for one in done]
            means = (statistics.mean(first), p95(first), statistics.mean(whole), p95(whole))
            shown = (*means, statistics.mean(one.gap for one in done), told.seconds)
            print(f"| {name} | {' | '.join(f'{value:.2f}' for value in shown)} |")


if __name__ == "__main__":
    main()
