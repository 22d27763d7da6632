"""Start-up: `import sartor`, `sartor --help`, and a bot of a tenant that is not loaded yet.

    python benchmarks/startup.py [--runs 15] [--tenants 20]

The first two are whole processes, each beside a bare interpreter of the same moment, alternating; what counts is
the difference of the medians. The third is in one process with the model resident: from `bots["tenant/bot"]` to
the bot being there, and from there to its first search.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sartor
from sartor.scaffold import make_bot, make_project
from sartor.templates import find_template
from sartor.values import Turn

CASES = {
    "bare interpreter": [sys.executable, "-c", "pass"],
    "import sartor": [sys.executable, "-c", "import sartor"],
    "sartor --help": [str(Path(sys.executable).with_name("sartor")), "--help"],
}
GOALS = {"import sartor": 60.0, "sartor --help": 150.0}


def processes(runs: int) -> None:
    """Time each case as a process of its own, alternating, and print the medians."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        for name, command in CASES.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append((time.perf_counter() - began) * 1000)
    bare = statistics.median(times["bare interpreter"])
    print(f"{'':<34}{'median ms':>12}{'over bare':>12}{'goal':>8}")
    for name, values in times.items():
        median = statistics.median(values)
        over = f"{median - bare:>12.1f}" if name in GOALS else f"{'':>12}"
        goal = f"{'≤ ' + format(GOALS[name], '.0f'):>8}" if name in GOALS else ""
        print(f"{name:<34}{median:>12.1f}{over}{goal}")


async def cold_bots(tenants: int) -> None:
    """Make a project with many tenants, and time how soon each one's bot is there with the model resident."""
    folder = Path(tempfile.mkdtemp(prefix="sartor-startup-"))
    try:
        make_project(folder)
        template = find_template("support@1")
        for number in range(tenants + 1):
            values = {"company": f"Company {number}", "contact": f"help@company{number}.example"}
            made = make_bot(folder, f"company-{number}", "support", template, values)
            (made.directory / "knowledge" / "about.md").write_text(f"# About\n\nCompany {number} opens at nine.\n")
        async with sartor.open(folder) as bots:
            for bot_id in bots:
                knowledge = bots.knowledge(bot_id)
                await knowledge.ingest()
                await knowledge.close()
        async with sartor.open(folder) as bots:
            await bots.start("company-0/support")  # the model, and the modules that the first bot imports
            await _search(bots, 0)
            build: list[float] = []
            search: list[float] = []
            for number in range(1, tenants + 1):
                began = time.perf_counter()
                bots[f"company-{number}/support"]
                built = time.perf_counter()
                await _search(bots, number)
                build.append((built - began) * 1000)
                search.append((time.perf_counter() - built) * 1000)
    finally:
        shutil.rmtree(folder)
    print(f"\n{'cold tenants: ' + str(tenants):<34}{'p50 ms':>12}{'p95 ms':>12}{'goal':>8}")
    for name, millis, goal in (("bot ready", build, "≤ 20"), ("its first search, index opened", search, "")):
        p95 = sorted(millis)[int(len(millis) * 0.95) - 1]
        print(f"{name:<34}{statistics.median(millis):>12.1f}{p95:>12.1f}{goal:>8}")


async def _search(bots: sartor.Bots, number: int) -> None:
    turn = Turn("t", "c", f"company-{number}", "support", "u", "When do you open?")
    found = await bots.knowledge(f"company-{number}/support").retrieve(turn, turn.text, 4)
    assert found, "the index found nothing"


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--tenants", type=int, default=20)
    options = parser.parse_args()
    processes(options.runs)
    asyncio.run(cold_bots(options.tenants))


if __name__ == "__main__":
    main()
