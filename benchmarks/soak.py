"""Ten minutes of mixed traffic on the engine: nothing lost, nothing mixed up, memory flat.

    python -m benchmarks.soak [--minutes 10] [--callers 24] [--shared]

The model repeats what it reads (`benchmarks/copying_model.py`), so each request brings a marker of its own, 10 to 50
random words out of 17,576, and its reply must repeat it: three words that stand together in another's marker would
show. Some callers go away in the middle, wait too little, ask what cannot be answered, choose among given texts, want
JSON, or come back with the same prompt. The memory is small, so that prefixes leave it and return all the time, to
ordinary memory and, of which there is little, to a disk; each conversation has a room of its own in it, or with
`--shared` all share it. Ends with exit code 1 where a reply was
wrong, a request had no end, or the process grew by more than a few MiB after the first fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path

from langchain_core.messages import BaseMessage, HumanMessage
from rich.console import Console
from rich.table import Table
from sartor.errors import ModelError
from sartor.values import Choices
from sartor_plugins.llama import LlamaPlugin
from sartor_plugins.llama.model import LlamaChatModel

from benchmarks.copying_model import copying_model
from benchmarks.engine.work import Words
from benchmarks.random_model import SHAPES

_ROOMS = {"rooms": 12, "parallel": 8}
_SHARED = {"cells": 4096, "idle_cells": 1024}
_FLOORS = {"spill": 2, "spill_disk": 6}
_GROWTH = 24
"""MiB that a process may grow without a leak: allocators keep what they once had."""
_LONGEST_WAIT = 120.0
_TENANTS = 12

Triple = tuple[str, str, str]


class Soak:
    """The traffic, and what came of it."""

    def __init__(self, model: LlamaChatModel, words: Words, seed: int) -> None:
        self._model = model
        self._words = words
        self._chance = random.Random(seed)
        self._number = 0
        self._known: deque[set[Triple]] = deque(maxlen=200)
        self._markers: list[tuple[str, str]] = []
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.reused = 0
        self.compared = 0

    async def caller(self, until: float) -> None:
        """One caller after another, until the time is over."""
        kinds = {
            self._whole: 10,
            self._again: 4,
            self._cancelled: 3,
            self._too_late: 2,
            self._chosen: 2,
            self._json: 1,
            self._too_long: 1,
        }
        while time.monotonic() < until:
            [kind] = self._chance.choices(list(kinds), list(kinds.values()))
            try:
                async with asyncio.timeout(_LONGEST_WAIT):
                    self.ends[await kind()] += 1
            except TimeoutError:
                self.wrong.append(f"{kind.__name__}: no end within {_LONGEST_WAIT:g} seconds")
            except Exception as error:
                self.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    async def _whole(self) -> str:
        marker, tenant = self._marker()
        await self._say(marker, tenant)
        self._markers = [*self._markers[-50:], (marker, tenant)]
        return "answered"

    async def _again(self) -> str:
        if not self._markers:
            return "answered"
        await self._say(*self._chance.choice(self._markers))
        return "answered again"

    async def _cancelled(self) -> str:
        marker, tenant = self._marker()
        stream = self._model.astream(_asked(marker), cache_scope=tenant, temperature=0, max_tokens=200)
        said = ""
        async for chunk in stream:
            said += chunk.text
            if self._chance.random() < 0.1:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        self._check(said, marker)
        return "went away"

    async def _too_late(self) -> str:
        marker, tenant = self._marker()
        try:
            async with asyncio.timeout(self._chance.random() / 5):
                await self._say(marker, tenant)
        except TimeoutError:
            return "waited too little"
        return "answered"

    async def _chosen(self) -> str:
        marker, tenant = self._marker()
        choices = Choices(tuple(f"{word}. [1]" for word in marker.split()[:4]), quotes=4, at_most=2)
        said = await self._model.ainvoke(_asked(marker), cache_scope=tenant, choices=choices)
        pairs = {one if one == other else f"{one} {other}" for one in choices.texts for other in choices.texts}
        if said.text not in pairs:
            self.wrong.append(f"chose {said.text!r}")
        return "chosen"

    async def _json(self) -> str:
        marker, tenant = self._marker()
        schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
        wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
        said = await self._model.ainvoke(_asked(marker), cache_scope=tenant, response_format=wanted)
        if set(json.loads(said.text)) != {"sure"}:
            self.wrong.append(f"wrote {said.text!r}")
        return "JSON"

    async def _too_long(self) -> str:
        try:
            await self._model.ainvoke(_asked(self._words.text(2500, self._chance.randrange(1 << 30))))
        except ModelError:
            return "refused: too long"
        self.wrong.append("a prompt that is too long was answered")
        return "wrong"

    async def _say(self, marker: str, tenant: str) -> None:
        said = await self._model.ainvoke(_asked(marker), cache_scope=tenant, temperature=0, max_tokens=60)
        if said.usage_metadata:
            self.reused += said.usage_metadata["input_token_details"]["cache_read"] > 20
        self._check(said.text, marker)

    def _check(self, said: str, marker: str) -> None:
        own, triples = _triples(marker), _triples(said)
        self.compared += len(triples)
        if foreign := [one for one in triples - own if any(one in known for known in self._known)]:
            self.wrong.append(f"asked for {marker!r}, got {said!r}, with another's {foreign}")
        elif len(triples) > 8 and not triples & own:
            self.wrong.append(f"asked for {marker!r}, got {said!r}, which is not it")

    def _marker(self) -> tuple[str, str]:
        self._number += 1
        marker = self._words.text(self._chance.randrange(40, 220), self._number)
        self._known.append(_triples(marker))
        return marker, f"tenant{self._chance.randrange(_TENANTS)}"


def _triples(text: str) -> set[Triple]:
    """Three neighbouring words each of a text."""
    words = text.split()
    return set(zip(words, words[1:], words[2:], strict=False))


def _asked(marker: str) -> list[BaseMessage]:
    return [HumanMessage(marker)]


def _mebibytes() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)


async def _watch(samples: list[tuple[float, float, int, int]], until: float) -> None:
    began = time.monotonic()
    while time.monotonic() < until:
        files = len(os.listdir("/proc/self/fd"))
        samples.append((time.monotonic() - began, _mebibytes(), files, threading.active_count()))
        await asyncio.sleep(2)


async def run(minutes: float, callers: int, *, shared: bool) -> int:
    """Run it, print what came of it; the exit code."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="sartor-soak-") as folder:
        path = copying_model(Path(folder) / "copying.gguf", SHAPES["tiny"], "q8_0")
        settings = LlamaPlugin.Settings.model_validate(
            {"path": str(path), "context": 1024, "threads": 1, **(_SHARED if shared else _ROOMS)}
            | {**_FLOORS, "spill_folder": f"{folder}/spill"}
        )
        model = LlamaPlugin(settings, Path("/")).sartor_model()
        await model.start()
        soak = Soak(model, Words(str(path)), seed=1)
        until = time.monotonic() + 60 * minutes
        samples: list[tuple[float, float, int, int]] = []
        with console.status(f"{callers} callers for {minutes:g} minutes"):
            await asyncio.gather(_watch(samples, until), *(soak.caller(until) for _ in range(callers)))
        await model.close()
    return report(console, soak, samples)


def report(console: Console, soak: Soak, samples: list[tuple[float, float, int, int]]) -> int:
    """Print what came of it; the exit code."""
    ends = Table(title="Requests by how they ended")
    ends.add_column("end")
    ends.add_column("requests", justify="right")
    for end, count in soak.ends.most_common():
        ends.add_row(end, f"{count:,}")
    ends.add_row("with a reused prompt", f"{soak.reused:,}", style="dim")
    ends.add_row("triples of words compared", f"{soak.compared:,}", style="dim")
    console.print(ends)
    kept = samples[len(samples) // 5 :]
    growth = kept[-1][1] - kept[0][1]
    flow = Table(title="The process")
    for head in ("after seconds", "MiB", "open files", "threads"):
        flow.add_column(head, justify="right")
    for at, size, files, threads in kept[:: max(1, len(kept) // 8)]:
        flow.add_row(f"{at:.0f}", f"{size:.1f}", str(files), str(threads))
    console.print(flow)
    console.print(f"Grown by {growth:+.1f} MiB since the first fifth (at most {_GROWTH}); wrong: {len(soak.wrong)}")
    for wrong in soak.wrong[:10]:
        console.print(f"  {wrong}", style="red", markup=False)
    return 1 if soak.wrong or growth > _GROWTH else 0


def main() -> None:
    """Run the soak."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--callers", type=int, default=24)
    parser.add_argument("--shared", action="store_true", help="one memory for all conversations")
    options = parser.parse_args()
    sys.exit(asyncio.run(run(options.minutes, options.callers, shared=options.shared)))


if __name__ == "__main__":
    main()
