"""What a turn costs outside the model: everything from the user's text to the commit, with a scripted model.

    python benchmarks/turn.py [--turns 300]

The bot is one of the template `support` with documents, policies, a tool and a conversation that goes on; SQLite
with synchronous=FULL. Beside it, in the same run and alternating: the bare scripted model called through LangChain,
and one bare SQLite commit of a row, which show how much of the figure is theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import shutil
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import sartor
from sartor.scaffold import make_bot, make_project
from sartor.templates import find_template
from sartor.values import Outcome

ANSWERS = {
    "What does express delivery cost?": "Express delivery costs 9.90 EUR and takes one day.",
    "How long may I take to return a lamp?": "Unused lamps can be returned within 30 days.",
    "When are you open on Saturdays?": "Our shop is open on Saturdays from 9:00 to 13:00.",
}
"""What is asked in turn, and the sentence of `DOCUMENT` that the scripted model quotes."""
DOCUMENT = """# Delivery

Parcels leave our warehouse within one working day. Express delivery costs 9.90 EUR and takes one day.

# Returns

Unused lamps can be returned within 30 days. Refunds are made within a week.

# Opening hours

Our shop is open on Saturdays from 9:00 to 13:00. On Sundays it is closed.
"""


async def run(turns: int) -> None:
    """Make the project, run the turns, print the table."""
    folder = Path(tempfile.mkdtemp(prefix="sartor-turn-"))
    try:
        make_project(folder)
        values = {"company": "Lumen & Son", "contact": "help@lumen.example"}
        made = make_bot(folder, "lumen", "support", find_template("support@1"), values)
        (made.directory / "knowledge" / "shop.md").write_text(DOCUMENT)
        (folder / "sartor.yaml").write_text("model: scripted\nmodels: {scripted: {plugin: scripted}}\n")
        (folder / "plugins").mkdir()
        (folder / "plugins" / "scripted.py").write_text(PLUGIN)
        async with sartor.open(folder) as bots:
            await bots.knowledge("lumen/support").ingest()
            await measure(bots, folder, turns)
    finally:
        shutil.rmtree(folder)


PLUGIN = f"""
from sartor import Plugin, hookimpl
from sartor.testing import ScriptedModel

class Scripted(Plugin):
    @hookimpl
    def sartor_model(self):
        return ScriptedModel(script={list(ANSWERS.values())} * 30_000, piece=16)
"""


async def measure(bots: sartor.Bots, folder: Path, turns: int) -> None:
    """Alternate turns, bare model calls and bare commits."""
    bot, model = bots["lumen/support"], bots.model()
    other = sqlite3.connect(folder / "bare.db", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("PRAGMA synchronous=FULL")
    other.execute("CREATE TABLE turn (id INTEGER PRIMARY KEY, text TEXT)")
    kinds = ("whole turn", "retrieval", "model in the turn", "bare model call", "bare SQLite commit")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    conversation, questions = "", itertools.cycle(ANSWERS)
    for number in range(turns + 20):
        began = time.perf_counter()
        if number % 10 == 0:
            conversation = ""
        reply = await bot.reply(next(questions), user="u", conversation=conversation)
        conversation = reply.turn.conversation
        turn = time.perf_counter() - began
        if reply.outcome is not Outcome.ANSWERED:
            raise RuntimeError(f"turn {number} ended as {reply.outcome.value}, not as an answer: {reply.text}")
        began = time.perf_counter()
        async for _ in model.astream("Hello"):
            pass
        bare = time.perf_counter() - began
        began = time.perf_counter()
        other.execute("INSERT INTO turn (text) VALUES (?)", (reply.text,))
        commit = time.perf_counter() - began
        if number >= 20:
            told = (turn, reply.seconds["retrieval"], reply.seconds["model"], bare, commit)
            for kind, seconds in zip(kinds, told, strict=True):
                times[kind].append(seconds * 1000)
    other.close()
    outside = [whole - model for whole, model in zip(times["whole turn"], times["model in the turn"], strict=True)]
    print(f"{'milliseconds, ' + str(turns) + ' turns':<34}{'p50':>8}{'p95':>8}{'goal':>8}")
    for kind, values in {**times, "turn outside the model": outside}.items():
        goal = "≤ 3" if kind == "turn outside the model" else ""
        p95 = sorted(values)[int(len(values) * 0.95) - 1]
        print(f"{kind:<34}{statistics.median(values):>8.2f}{p95:>8.2f}{goal:>8}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=300)
    logging.disable(logging.WARNING)
    asyncio.run(run(parser.parse_args().turns))


if __name__ == "__main__":
    main()
