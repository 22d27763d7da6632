"""What is measured. Each workload prints a table, and gives the goals that it decides."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from benchmarks.engine.apart import Apart
from benchmarks.engine.candidates import Engine, Locked, Server
from benchmarks.engine.limit import Limit
from benchmarks.engine.report import Cell, Goal, Report, p95
from benchmarks.engine.work import Ask, Setup, Told, Words, decode_rate, total_rate

__all__ = ["Bench"]

_LIMIT = "limit"
_ENGINE = "engine"
_SERVER = "llama-server"
_PINNED = "llama-server, pinned"
_LOCKED = "Llama, locked"
_PLAIN = "engine, no drafts"
_APART = "engine, rules not public"
_PROMISED: dict[str, list[tuple[str, float, int]]] = {
    "decode": [(_LIMIT, 0.95, 1)],
    "total": [(_SERVER, 1.0, 1), (_PINNED, 1.0, 1), (_LOCKED, 3.0, 16)],
}
"""Of a rate: beside whom, at least how many times as much, and from how many at once on."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The workloads on one model."""

    setup: Setup
    words: Words
    server: Path | None
    quick: bool
    rounds: int
    turns: int
    """Of each conversation in `talks`."""
    report: Report

    @contextlib.asynccontextmanager
    async def _started(self, candidates: Sequence[Apart]) -> AsyncIterator[dict[str, Apart]]:
        """The candidates by name, each of which has answered once."""
        async with contextlib.AsyncExitStack() as stack:
            for one in candidates:
                await one.start()
                stack.push_async_callback(one.close)
                await one.ask(self.words.ask(0, 1, 64, 8))
            yield {one.name: one for one in candidates}

    def _engine(self) -> Apart:
        return Apart(_ENGINE, partial(Engine, self.setup))

    def _locked(self) -> Apart:
        return Apart(_LOCKED, partial(Locked, self.setup))

    def _servers(self, slots: int, *, pinned: bool = False) -> list[Apart]:
        if self.server is None:
            return []
        names = {_SERVER: False, _PINNED: True} if pinned else {_SERVER: False}
        return [Apart(name, partial(Server, self.setup, self.server, slots, pinned=one)) for name, one in names.items()]

    async def conversations(self) -> None:
        """First messages, 1, 4 and 16 at once, each of another tenant. Each round has its own prompts, so that nobody
        knows them.

        Random weights fall into loops, which drafts profit from; so the engine is measured without drafts, too.
        """
        sizes = (1, 4) if self.quick else (1, 4, 16)
        told: dict[tuple[str, int], list[list[Told]]] = {}
        limit = Apart(_LIMIT, partial(Limit, self.setup, max(sizes)))
        plain = Apart(_PLAIN, partial(Engine, self.setup, speculation=0))
        everyone = [limit, self._engine(), plain, self._locked(), *self._servers(16, pinned=True)]
        async with self._started(everyone) as candidates:
            for number in range(self.rounds):
                for size in sizes:
                    asks = [self.words.ask(one, 1000 * number + 100 * size + one, 64, 48) for one in range(size)]
                    for name, one in _in_turn(candidates, number):
                        told.setdefault((name, size), []).append(await one.answer(asks))
        self._tell_conversations(told, list(candidates), sizes)

    def _tell_conversations(
        self, told: dict[tuple[str, int], list[list[Told]]], names: Sequence[str], sizes: Sequence[int]
    ) -> None:
        self.report.counts([one for rounds in told.values() for replies in rounds for one in replies], 48)
        for title, rate in (("decode", decode_rate), ("total", total_rate)):
            rates = {key: [rate(replies) for replies in rounds] for key, rounds in told.items()}
            rows: list[list[Cell]] = []
            for name in names:
                shown = [statistics.median(rates[name, size]) for size in sizes]
                rows.append([name, *shown, *(_ratio(rates[name, size], rates[_LIMIT, size]) for size in sizes)])
            heads = [*(f"{size} at once" for size in sizes), *(f"of the limit, {size}" for size in sizes)]
            self.report.table(f"Conversations: {title} tokens/s, median of {self.rounds}", heads, rows)
            for other, bound, promised in _PROMISED[title]:
                for ours, size in itertools.product((_ENGINE, _PLAIN), sizes):
                    if other in names and size >= promised:
                        ratio = _ratio(rates[ours, size], rates[other, size])
                        self.report.goal(Goal(f"{title}, {size} at once, {ours} / {other}", ratio, bound))

    async def talks(self) -> None:
        """Conversations of several turns, each of another tenant with a prompt of its own: what is read of a
        conversation can be kept until its next turn."""
        sizes, system, turns = ((1, 4), 100, 2) if self.quick else ((1, 4, 16), 300, self.turns)
        told: dict[tuple[str, int], list[list[Told]]] = {}
        plain = Apart(_PLAIN, partial(Engine, self.setup, speculation=0))
        everyone = [self._engine(), plain, self._locked(), *self._servers(16, pinned=True)]
        async with self._started(everyone) as candidates:
            for number in range(self.rounds):
                for size in sizes:
                    seeds = [40000 + 1000 * number + 100 * size + one for one in range(size)]
                    asks = [self._talk(tenant, seed, system, turns) for tenant, seed in enumerate(seeds)]
                    for name, one in _in_turn(candidates, number):
                        told.setdefault((name, size), []).append(await one.answer(asks))
        self._tell_talks(told, list(candidates), sizes, turns)

    def _talk(self, tenant: int, seed: int, system: int, turns: int) -> Ask:
        """A conversation of `turns` turns: messages of 64 tokens, replies of 48."""
        first, *later = (self.words.text(64, 10 * seed + turn) for turn in range(turns))
        return Ask(tenant, self.words.text(system, seed + 500000), first, 48, tuple(later))

    def _tell_talks(
        self, told: dict[tuple[str, int], list[list[Told]]], names: Sequence[str], sizes: Sequence[int], turns: int
    ) -> None:
        rates = {key: [total_rate(replies) for replies in rounds] for key, rounds in told.items()}
        rows: list[list[Cell]] = []
        for name in names:
            row: list[Cell] = [name, *(statistics.median(rates[name, size]) for size in sizes)]
            for size in sizes:
                row.append(p95([one.first * 1000 for replies in told[name, size] for one in replies]))
            rows.append(row)
        heads = [f"{what}, {size} at once" for what in ("tokens/s", "p95 ms to the first token") for size in sizes]
        self.report.table(f"Conversations of {turns} turns: total tokens/s, median of {self.rounds}", heads, rows)
        for other, bound, least in _PROMISED["total"]:
            for ours, size in itertools.product((_ENGINE, _PLAIN), sizes):
                if other in names and size >= least:
                    ratio = _ratio(rates[ours, size], rates[other, size])
                    self.report.goal(Goal(f"total of {turns} turns, {size} at once, {ours} / {other}", ratio, bound))

    async def tenants(self) -> None:
        """Many tenants, each with a long prefix of its own, come back in turn with another question."""
        count, prefix, rounds = (4, 200, 2) if self.quick else (32, 1000, 4)
        systems = [self.words.text(prefix, 5000 + tenant) for tenant in range(count)]
        first: dict[tuple[str, int], list[float]] = {}
        cached: dict[str, int] = {}
        everyone = [self._engine(), self._locked(), *self._servers(count, pinned=True)]
        async with self._started(everyone) as candidates:
            for number in range(rounds):
                for tenant, system in enumerate(systems):
                    ask = self.words.ask(tenant, 100 * number + tenant, 24, 4, system)
                    for name, one in _in_turn(candidates, number):
                        told = await one.ask(ask)
                        first.setdefault((name, number), []).append(told.first * 1000)
                        cached[name] = cached.get(name, 0) + (told.cached if number else 0)
        rows: list[list[Cell]] = []
        later: dict[str, list[float]] = {}
        for name in candidates:
            later[name] = [ms for number in range(1, rounds) for ms in first[name, number]]
            shown = [first[name, 0], *(first[name, number] for number in range(1, rounds)), later[name]]
            figures = [figure for values in shown for figure in (statistics.median(values), p95(values))]
            rows.append([name, *figures, cached[name] / ((rounds - 1) * count)])
        kinds = [*(f"round {number + 1}" for number in range(rounds)), "returning"]
        heads = [*(f"{kind} {what}" for kind in kinds for what in ("p50", "p95")), "cached tokens"]
        self.report.table(f"{count} tenants, prefixes of {prefix} tokens: ms to the first token", heads, rows)
        for name in candidates:
            if name in (_SERVER, _PINNED):
                ratio = p95(later[_ENGINE]) / p95(later[name])
                self.report.goal(Goal(f"returning tenants, p95, engine / {name}", ratio, 0.5, at_most=True))

    async def public(self) -> None:
        """The first question to each of many tenants, whose bots are of one template with long rules."""
        count, rules, own = (4, 200, 40) if self.quick else (32, 800, 100)
        same = self.words.text(rules, 7000)
        everyone = [self._engine(), Apart(_APART, partial(Engine, self.setup)), self._locked()]
        everyone += self._servers(count, pinned=True)
        told: dict[str, list[Told]] = {}
        async with self._started(everyone) as candidates:
            for tenant in range(count):
                system = f"{same} {self.words.text(own, 7100 + tenant)}"
                ask = self.words.ask(tenant, 7200 + tenant, 24, 4, system)
                for name, one in _in_turn(candidates, tenant):
                    public = same if name == _ENGINE else ""
                    told.setdefault(name, []).append(await one.ask(replace(ask, public=public)))
        rows: list[list[Cell]] = []
        for name, replies in told.items():
            first = [reply.first * 1000 for reply in replies[1:]]
            rows.append([name, statistics.median(first), p95(first), statistics.median(one.cached for one in replies)])
        title = f"{count} tenants of one template, {rules} tokens of rules, {own} of their own: first question"
        self.report.table(f"{title}, ms to the first token", ["p50", "p95", "cached tokens"], rows)

    async def neighbour(self) -> None:
        """A tenant sends many requests at once; a quiet one sends one after the other."""
        noise, quiet = (12, 4) if self.quick else (100, 20)
        everyone = [self._engine(), self._locked(), *self._servers(16)]
        alone: dict[str, list[Told]] = {}
        beside: dict[str, list[Told]] = {}
        loud: dict[str, list[float]] = {}
        async with self._started(everyone) as candidates:
            for number in range(1 if self.quick else 3):
                for name, one in candidates.items():
                    seed = 20000 + 1000 * number
                    for at in range(quiet):
                        alone.setdefault(name, []).append(await one.ask(self.words.ask(1, seed + at, 64, 16)))
                    told, rate = await self._noise(one, seed + 100, noise, quiet)
                    beside.setdefault(name, []).extend(told)
                    loud.setdefault(name, []).append(rate)
        rows: list[list[Cell]] = []
        for name in candidates:
            first, whole = (
                [p95([read(told) * 1000 for told in several[name]]) for several in (alone, beside)]
                for read in (attrgetter("first"), attrgetter("whole"))
            )
            ratios = (first[1] / first[0], whole[1] / whole[0])
            rows.append([name, *first, ratios[0], *whole, ratios[1], len(beside[name]), statistics.median(loud[name])])
            if name == _ENGINE:
                for what, ratio in zip(("first token", "whole reply"), ratios, strict=True):
                    self.report.goal(Goal(f"quiet tenant's p95, noise / alone, {what}", ratio, 2, at_most=True))
        times = ("alone", "in noise", "ratio")
        heads = [*(f"{what} {when}" for what in ("first token", "whole reply") for when in times)]
        heads += ["quiet replies in noise", "tokens/s of the noise"]
        self.report.table(f"A quiet tenant beside {noise} requests at once: p95 in ms", heads, rows)

    async def _noise(self, one: Apart, seed: int, noise: int, quiet: int) -> tuple[list[Told], float]:
        """The quiet tenant's replies that began during the noise, and the tokens a second that the noise got."""
        noisy = asyncio.create_task(one.answer([self.words.ask(2, seed + at, 64, 48) for at in range(noise)]))
        await asyncio.sleep(0.05 if self.quick else 0.5)
        told: list[Told] = []
        while not noisy.done() and len(told) < quiet:
            told.append(await one.ask(self.words.ask(1, seed + 500 + len(told), 64, 16)))
        return told, total_rate(await noisy)

    async def quotes(self, path: str) -> None:
        """Replies that quote, by the model at `path`, with and without speculation."""
        setup = Setup(path, self.setup.threads, self.setup.cells)
        words = Words(path)
        passage, new = (100, 48) if self.quick else (400, 256)
        everyone = [
            Apart(_PLAIN, partial(Engine, setup, speculation=0)),
            Apart(_ENGINE, partial(Engine, setup)),
        ]
        rates: dict[str, list[float]] = {}
        told: dict[str, list[Told]] = {}
        async with self._started(everyone) as candidates:
            for number in range(self.rounds):
                ask = words.ask(1, 300 + number, passage, new)
                for name, one in candidates.items():
                    reply = await one.ask(ask)
                    told.setdefault(name, []).append(reply)
                    rates.setdefault(name, []).append(decode_rate([reply]))
        same = [left.text == right.text for left, right in zip(*told.values(), strict=True)]
        gain = _ratio(rates[_ENGINE], rates[_PLAIN])
        rows: list[list[Cell]] = []
        for name, ratio in zip(candidates, (1.0, gain), strict=True):
            drafted, accepted = (sum(map(attrgetter(one), told[name])) for one in ("drafted", "accepted"))
            rows.append([name, statistics.median(rates[name]), ratio, drafted, accepted])
        heads = ["decode tokens/s", "of no drafts", "drafted", "accepted"]
        self.report.table(f"Quotes of {new} tokens from passages of {passage}", heads, rows)
        self.report.note(f"{sum(same)} of {len(same)} replies are the same with and without drafts")
        self.report.goal(Goal("quotes, drafts / none", gain, 1.5))


def _in_turn(candidates: dict[str, Apart], number: int) -> list[tuple[str, Apart]]:
    """The candidates, with another one first in each round, so that none has an advantage from where it stands."""
    named = list(candidates.items())
    first = number % len(named)
    return named[first:] + named[:first]


def _ratio(left: Sequence[float], right: Sequence[float]) -> float:
    """The median of the rounds' ratios: what disturbed a round disturbed both."""
    return statistics.median(one / other for one, other in zip(left, right, strict=True))
