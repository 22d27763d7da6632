"""Tables, goals, and the machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llama_cpp import Llama

from benchmarks.engine.work import Setup, Told

__all__ = ["Cell", "Goal", "Report", "p95"]

Cell = str | float | int


def p95(values: Sequence[float]) -> float:
    """Of few values the largest."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that was promised."""

    name: str
    ratio: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound


@dataclass(slots=True)
class Report:
    """Prints as it goes, as Markdown, and remembers for `--json`."""

    machine: dict[str, Cell] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def about(self, setup: Setup, quick: bool) -> None:
        """Tell the machine, the versions and the model."""
        known = Llama(setup.path, vocab_only=True, verbose=False)
        told = known.metadata
        arch = told.get("general.architecture", "")
        shape = {
            name: told.get(f"{arch}.{name}") for name in ("block_count", "embedding_length", "feed_forward_length")
        }
        heads = "/".join(told.get(f"{arch}.attention.{name}", "?") for name in ("head_count", "head_count_kv"))
        self.machine = {
            "Processor": f"{_processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start",
            "System": platform.platform(),
            "Versions": ", ".join(
                f"{name} {version(name)}" for name in ("sartor", "llama-cpp-python", "langchain-core")
            )
            + f", Python {platform.python_version()}",
            "Threads": setup.threads,
            "Model": f"{Path(setup.path).name}, {Path(setup.path).stat().st_size / 1e6:.0f} MB: "
            + ", ".join(f"{name} {value}" for name, value in shape.items())
            + f", heads {heads}, vocabulary {known.n_vocab()}",
            "Tokens in memory": setup.cells,
        }
        known.close()
        if quick:
            self.machine["Run"] = "--quick: a trial of the script, no figures to quote"
        print("\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in self.machine.items())]))

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Print a table; the first column is the candidate."""
        self.tables.append({"title": title, "heads": ["", *heads], "rows": [list(row) for row in rows]})
        lines = [["", *heads], ["---"] * (len(heads) + 1), *([_shown(cell) for cell in row] for row in rows)]
        print(f"\n**{title}**\n")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines), flush=True)

    def goal(self, goal: Goal) -> None:
        """Remember a goal."""
        self.goals.append(goal)

    def note(self, text: str) -> None:
        """Print a remark."""
        print(f"\n{text}", flush=True)

    def counts(self, told: Sequence[Told], new: int) -> None:
        """Say so where replies ended early, or the prompts differ."""
        early = sum(one.new != new for one in told)
        prompts = {one.prompt for one in told}
        if early:
            self.note(f"{early} of {len(told)} replies did not have {new} tokens: the model ended them")
        if max(prompts) - min(prompts) > 2:
            self.note(f"prompts had between {min(prompts)} and {max(prompts)} tokens")

    def end(self, file: Path | None) -> None:
        """Print the goals, and write `file`."""
        print("\n**Goals**\n\n| | ratio | goal | |\n|---|---|---|---|")
        for goal in self.goals:
            sign = "≤" if goal.at_most else "≥"
            print(
                f"| {goal.name} | {goal.ratio:.2f} | {sign} {goal.bound:g} | {'met' if goal.met else '**not met**'} |"
            )
        if file is not None:
            goals = [{**asdict(goal), "met": goal.met} for goal in self.goals]
            told = {"machine": self.machine, "tables": self.tables, "goals": goals}
            file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _shown(cell: Cell) -> str:
    if isinstance(cell, str | int):
        return str(cell)
    return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.0f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
