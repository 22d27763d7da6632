"""`sartor plugins --times --ask TEXT`: what each part of a bot costs in a turn."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.observing import Observer, Observers, Step
from sartor.policy import Policy, Stage

if TYPE_CHECKING:
    from sartor.parts import BotParts
    from sartor.retrieval import Retriever
    from sartor.tools import Tool
    from sartor.values import Passage, Turn

__all__ = ["show_turn_times"]

Times = dict[str, list[float]]
"""Seconds of each call, by what was called."""


def show_turn_times(directory: Path, question: str) -> None:
    """Ask every bot of the project in `directory` the question, twice, with a state that is thrown away, and print
    what the second turn took: the first loads what is loaded once. Raises what opening the project raises."""
    from rich.table import Table

    from sartor.cli.render import console

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("bot", "part"):
        table.add_column(heading)
    for heading in ("calls", "ms"):
        table.add_column(heading, justify="right")
    for bot_id, total, times in asyncio.run(_ask_all(directory, question)):
        for part, calls in sorted(times.items(), key=lambda row: -sum(row[1])):
            table.add_row(bot_id, f"[cyan]{part}[/]", str(len(calls)), f"{1000 * sum(calls):.2f}")
        table.add_row(bot_id, "[bold]whole turn[/]", "", f"[bold]{1000 * total:.2f}[/]")
    console.print(table)
    console.print("[dim]One turn of each bot; a policy is asked once at each stage, of a stream for each piece.[/]")


async def _ask_all(directory: Path, question: str) -> list[tuple[str, float, Times]]:
    from sartor.bot import Bot
    from sartor.project import Project
    from sartor.rehearsal.stage import open_stage

    asked: list[tuple[str, float, Times]] = []
    ids = list(Project(directory).bots())
    async with open_stage(directory, ids) as bots:
        for bot_id in ids:
            times: Times = defaultdict(list)
            bot = Bot(_timed(bots.parts(bot_id), times))
            await bot.reply(question, user="times")
            times.clear()
            reply = await bot.reply(question, user="times")
            asked.append((bot_id, reply.seconds["total"], dict(times)))
    return asked


def _timed(parts: BotParts, times: Times) -> BotParts:
    """`parts` that note their times."""
    for policy in parts.policies:
        _time_policy(policy, times)
    return replace(
        parts,
        retrievers=[_TimedRetriever(retriever, times) for retriever in parts.retrievers],
        tools={name: _timed_tool(tool, times) for name, tool in parts.tools.items()},
        observers=Observers([_ModelTimes(times)]),
    )


def _time_policy(policy: Policy, times: Times) -> None:
    for stage in Stage:
        if policy.judges(stage):
            asked = _timing(getattr(policy, stage.value), f"policy {policy.name}: {stage.value}", times)
            with suppress(AttributeError):  # one with slots goes untimed
                object.__setattr__(policy, stage.value, asked)


def _timed_tool(tool: Tool, times: Times) -> Tool:
    return replace(tool, function=_timing(tool.function, f"tool {tool.name}", times))


def _timing(function: Callable[..., object], part: str, times: Times) -> Callable[..., object]:
    """`function`, sync or async, with its seconds noted."""

    @functools.wraps(function)
    async def awaited(*given: object, **named: object) -> object:
        began = time.perf_counter()
        try:
            called = function(*given, **named)
            assert isinstance(called, Awaitable)
            return await called
        finally:
            times[part].append(time.perf_counter() - began)

    @functools.wraps(function)
    def called(*given: object, **named: object) -> object:
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            times[part].append(time.perf_counter() - began)

    return awaited if inspect.iscoroutinefunction(function) else called


@dataclass(frozen=True)
class _TimedRetriever:
    """A retriever whose seconds are noted."""

    retriever: Retriever
    times: Times

    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        began = time.perf_counter()
        try:
            return await self.retriever.retrieve(turn, query, limit)
        finally:
            self.times[f"retriever {type(self.retriever).__name__}"].append(time.perf_counter() - began)


class _ModelTimes(Observer):
    """Notes the seconds of the model's calls."""

    def __init__(self, times: Times) -> None:
        self._times = times

    def step_finished(self, turn: Turn, step: Step) -> None:
        if step.kind == "model":
            self._times[f"model {step.name}"].append(step.seconds)
