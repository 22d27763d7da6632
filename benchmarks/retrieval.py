"""How well the first-party index finds, and how well its scores tell questions that have no answer.

Run ``python benchmarks/retrieval.py --data ../shared/data/retrieval``. Each set is a folder with
``corpus.jsonl`` (id, title, text) and ``queries.jsonl`` (id, text, relevant); entries are cut into chunks as
`sartor ingest` cuts them, and an entry counts as found where its best chunk stands. Strange questions are
those of ``out-of-scope/clinc150.json``, asked to each set.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from rich.console import Console
from rich.table import Table
from sartor.retrieval import Document, Section
from sartor.text import chunks
from sartor.values import BotInfo, Chunk
from sartor_plugins.chroma import ChromaPlugin, ChromaSettings
from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings

SETS = {"help-docs": "en", "faq": "en", "squad2": "en", "piaf-fr": "fr", "multi-turn": "en", "banking": "en"}
WAYS = {"keywords": (1.0, 0.0), "n-grams": (0.0, 1.0), "fused": (0.5, 0.5)}
STRANGE = 200


@dataclass(frozen=True)
class Question:
    """A question and the entries that answer it."""

    text: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Result:
    """Figures of one set, one way of searching."""

    ndcg: float
    recall: float
    separation: float
    """How often a question with an answer scores higher than a strange one (area under the curve)."""
    accepted: float
    refused: float
    """Shares of questions with an answer that score 0.5 or more, and of strange ones that score less."""
    milliseconds: float


def read_lines(path: Path) -> list[dict[str, object]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def questions(path: Path, most: int) -> list[Question]:
    """The questions of a set that have an answer, at most `most` of them."""
    found = []
    for row in read_lines(path):
        relevant = row.get("relevant")
        answerable = row.get("answerable", True)
        if isinstance(relevant, list) and relevant and answerable in (True, "ANSWERABLE"):
            found.append(Question(str(row["text"]), frozenset(map(str, relevant))))
    return found[:most]


def corpus(path: Path) -> tuple[list[Chunk], dict[str, str]]:
    """The chunks of a set, and for each chunk's id the entry that it is from."""
    made: list[Chunk] = []
    entry_of: dict[str, str] = {}
    for row in read_lines(path):
        for piece in chunks(Document(str(row["title"]), (Section("", str(row["text"])),))):
            chunk = Chunk(f"{len(made):06d}", "bench", "bench", str(row["id"]), piece.title, piece.text, len(made))
            entry_of[chunk.id] = str(row["id"])
            made.append(chunk)
    return made, entry_of


def gains(found: Sequence[str], relevant: frozenset[str]) -> tuple[float, float]:
    """nDCG@10 and recall@5."""
    gain = sum(1 / math.log2(place + 2) for place, entry in enumerate(found[:10]) if entry in relevant)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(10, len(relevant))))
    return gain / ideal, sum(entry in relevant for entry in found[:5]) / min(5, len(relevant))


def separation(high: Sequence[float], low: Sequence[float]) -> float:
    """How often a number of `high` is above one of `low`; a tie counts half."""
    if not high or not low:
        return math.nan
    return mean((one > other) + 0.5 * (one == other) for one in high for other in low)


async def measure(
    folder: Path, language: str, weights: tuple[float, float], most: int, strange: Sequence[str]
) -> tuple[Result, int]:
    """One set, one way of searching; the result and the number of chunks."""
    made, entry_of = corpus(folder / "corpus.jsonl")
    with tempfile.TemporaryDirectory() as data:
        bot = BotInfo("bench", "bench", folder, Path(data), language)
        embeddings = NgramsPlugin(NgramsSettings(), folder).sartor_embeddings() if weights[1] else None
        settings = ChromaSettings(keywords=weights[0], vectors=weights[1])
        index = ChromaPlugin(settings, folder).sartor_index(bot, embeddings)
        for at in range(0, len(made), 500):
            await index.add(made[at : at + 500])
        ndcg, recall, seconds, sure = [], [], [], []
        for question in questions(folder / "queries.jsonl", most):
            started = time.perf_counter()
            hits = await index.search(question.text, 40)
            seconds.append(time.perf_counter() - started)
            one, two = gains(list(dict.fromkeys(entry_of[hit.chunk] for hit in hits)), question.relevant)
            ndcg.append(one)
            recall.append(two)
            sure.append(hits[0].score if hits else 0.0)
        unsure = [hits[0].score if hits else 0.0 for hits in [await index.search(text, 1) for text in strange]]
        await index.close()
    accepted = mean(score >= 0.5 for score in sure)
    refused = mean(score < 0.5 for score in unsure) if unsure else math.nan
    result = Result(mean(ndcg), mean(recall), separation(sure, unsure), accepted, refused, 1000 * median(seconds))
    return result, len(made)


def show(results: Mapping[str, Mapping[str, Result]], sizes: Mapping[str, int]) -> None:
    """Print a table, and the mean of each way."""
    table = Table(
        title="nDCG@10, recall@5; strange questions: separation, accepted and refused at 0.5; ms at the median"
    )
    for column in ("set", "chunks", "way", "nDCG@10", "recall@5", "separation", "accepted", "refused", "ms"):
        table.add_column(column, justify="left" if column in ("set", "way") else "right")

    def row(name: str, size: str, way: str, result: Result) -> None:
        figures = (result.ndcg, result.recall, result.separation, result.accepted, result.refused)
        table.add_row(name, size, way, *(f"{figure:.3f}" for figure in figures), f"{result.milliseconds:.1f}")

    for name, ways in results.items():
        for way, result in ways.items():
            row(name, str(sizes[name]), way, result)
        table.add_section()
    for way in WAYS:
        every = [ways[way] for ways in results.values()]
        means = {field: mean(getattr(one, field) for one in every) for field in Result.__dataclass_fields__}
        row("mean", "", way, Result(**means))
    Console(width=120).print(table)


def main() -> int:
    """Measure the sets that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the sets")
    parser.add_argument("--questions", type=int, default=300, help="questions of each set at most (300)")
    arguments = parser.parse_args()
    strange: list[str] = []
    out_of_scope = arguments.data / "out-of-scope/clinc150.json"
    if out_of_scope.exists():
        rows = json.loads(out_of_scope.read_text(encoding="utf-8"))["train"]
        strange = [text for text, _ in random.Random(1).sample(rows, STRANGE)]
    else:
        print(f"{out_of_scope} is absent: no strange questions", file=sys.stderr)
    results: dict[str, dict[str, Result]] = {}
    sizes: dict[str, int] = {}
    for name, language in SETS.items():
        folder = arguments.data / name
        if not (folder / "corpus.jsonl").exists():
            print(f"{folder} is absent: skipped", file=sys.stderr)
            continue
        results[name] = {}
        for way, weights in WAYS.items():
            measured = asyncio.run(measure(folder, language, weights, arguments.questions, strange))
            results[name][way], sizes[name] = measured
    if not results:
        print(f"There is no set in {arguments.data}", file=sys.stderr)
        return 1
    show(results, sizes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
