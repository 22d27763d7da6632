"""Batches of examples, made in a process of their own while the model learns."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
from dataclasses import dataclass
from pathlib import Path
from queue import Full

import torch
from torch import Tensor

from training.corpus import load_documents, load_synonyms
from training.examples import Example, Generator
from training.questions import Library
from training.tokenizer import Coder
from training.words import STOP, WORD, stem

__all__ = ["Batch", "Feed", "Sample", "encode"]

LENGTHS = (112, 144, 176, 208, 240, 272, 304, 352, 400, 448, 512, 576, 640, 704, 768, 832)
FIRST = 5.0  # the weight of the answer's first token, which decides on the sentence
SIZES = ((1, 0, 0, 0), (45, 30, 15, 10), (20, 25, 30, 25))  # how often texts of 25, 40, 70, 110 words, by phase


@dataclass
class Sample:
    """One example in tokens: weights of the predicted tokens, ends of units, words that match."""

    ids: list[int]
    weights: list[float]
    units: list[tuple[int, int]]  # (last token, first token's id)
    gold: int
    matches: list[tuple[int, int]]  # (token, 1 when its word is one of the question's)
    starts: list[tuple[int, int]]  # (token, id of the token with which its unit starts)
    span: tuple[int, int]  # first and last token of the text to be copied
    kind: str


@dataclass
class Batch:
    tokens: Tensor
    at: Tensor  # flat positions whose next token is learned
    weight: Tensor
    unit_at: Tensor  # (rows, most units) flat positions, -1 for none
    start_at: Tensor  # flat positions in units, and the tokens with which those start
    start: Tensor
    span: Tensor  # (rows, 2) first and last place of the text to be copied in its row
    gold: Tensor  # index of the unit, or the number of units for none
    ask_at: Tensor  # flat positions from which the answer's first token is predicted
    match_at: Tensor
    match: Tensor
    kinds: list[str]


def encode(example: Example, coder: Coder, rng: random.Random) -> Sample:
    prompt, start, offsets = coder.prompt(example.messages, example.tools)
    answer = coder.answer(example.answer)
    ids = prompt + answer
    weights = [0.0] * len(ids)  # of predicting the token at this place
    for i in range(len(answer)):
        weights[len(prompt) + i] = (FIRST, 2.5, 1.5)[i] if i < 3 else 1.0
    for i in rng.sample(range(1, len(prompt)), min(8, len(prompt) - 1)):
        weights[i] = 0.1
    units, matches, starts, span = [], [], [], (0, 0)
    if example.units:
        ends = {b: i for i, (_, b) in enumerate(offsets)}
        begins = {}
        for i, (a, _) in enumerate(offsets):
            begins.setdefault(a, i)
            begins.setdefault(a + 1, i)  # a token with its leading space
        for j, (a, b) in enumerate(example.units):
            units.append((start + ends[b], coder.plain(example.messages[-1]["content"][a:b])[0]))
            inside = range(start + begins[a], start + ends[b] + 1)
            starts += [(i, units[-1][1]) for i in rng.sample(inside, min(3, len(inside)))]
            if j == example.gold:
                span = (inside[0], inside[-1])
        if example.stems:
            content = example.messages[-1]["content"]
            wanted = set(example.stems)
            first, last = example.units[0][0], example.units[-1][1]
            for word in WORD.finditer(content, first, last):
                if word[0].lower() not in STOP and word.end() in ends:
                    matches.append((start + ends[word.end()], int(stem(word[0]) in wanted)))
    if example.fixed:
        system = example.messages[0]["content"]
        marks = coder.tokenizer.encode(system, add_special_tokens=False).offsets
        at = system.rindex(example.answer)
        inside = [i + 2 for i, (a, b) in enumerate(marks) if b > at and a < at + len(example.answer)]
        span = (inside[0], inside[-1])
        starts += [(i, answer[0]) for i in rng.sample(inside, min(5, len(inside)))]
    return Sample(ids, weights, units, example.gold, matches, starts, span, example.kind)


def collate(samples: list[Sample], length: int) -> Batch:
    tokens = torch.zeros(len(samples), length, dtype=torch.int64)
    at, weight, match_at, match, gold, ask_at, start_at, start = [], [], [], [], [], [], [], []
    most = max(1, *(len(s.units) for s in samples))
    unit_at = torch.full((len(samples), most), -1)
    for row, s in enumerate(samples):
        tokens[row, : len(s.ids)] = torch.tensor(s.ids)
        for i, w in enumerate(s.weights):
            if w:
                at.append(row * length + i - 1)
                weight.append(w)
        for j, (place, _) in enumerate(s.units):
            unit_at[row, j] = row * length + place
        start_at += [row * length + i for i, _ in s.starts]
        start += [t for _, t in s.starts]
        ask_at.append(row * length + s.weights.index(FIRST) - 1)
        gold.append(s.gold if s.gold >= 0 else most)
        match_at += [row * length + p for p, _ in s.matches]
        match += [float(m) for _, m in s.matches]
    ints = torch.int64
    return Batch(
        tokens,
        torch.tensor(at),
        torch.tensor(weight),
        unit_at,
        torch.tensor(start_at, dtype=ints),
        torch.tensor(start, dtype=ints),
        torch.tensor([s.span for s in samples]),
        torch.tensor(gold),
        torch.tensor(ask_at),
        torch.tensor(match_at, dtype=ints),
        torch.tensor(match),
        [s.kind for s in samples],
    )


def produce(work: Path, seed: int, budget: int, phase: mp.Value, queue: mp.Queue) -> None:
    """Fill the queue for ever; `phase` says how hard the examples are."""
    parent = os.getppid()
    os.nice(10)  # the training itself goes first
    torch.set_num_threads(1)
    coder = Coder(work / "tokenizer.json")
    generator = Generator(Library(load_documents(work), load_synonyms(work)), seed)
    rng = random.Random(seed)
    bins: dict[int, list[Sample]] = {n: [] for n in LENGTHS}
    while True:
        now = phase.value
        generator.plain = now == 0
        generator.most_passages = 2 if now == 0 else rng.choice((2, 3, 4))
        generator.most_words = rng.choices((25, 40, 70, 110), SIZES[now])[0]
        sample = encode(generator.draw(), coder, rng)
        longest = (224, 704, 832)[now]
        length = next((n for n in LENGTHS if len(sample.ids) <= n), None)
        if length is None or length > longest:
            continue
        bins[length].append(sample)
        if len(bins[length]) * length >= budget:
            batch = collate(bins[length], length)
            bins[length] = []
            while True:
                try:
                    queue.put(batch, timeout=5)
                    break
                except Full:
                    if os.getppid() != parent:  # the training is gone
                        return


class Feed:
    """The batches of `workers` processes."""

    def __init__(self, work: Path, seed: int, budget: int, workers: int = 1) -> None:
        context = mp.get_context("spawn")
        self.queue = context.Queue(maxsize=24)
        self.phase = context.Value("i", 0)
        self.workers = [
            context.Process(target=produce, args=(work, seed + i, budget, self.phase, self.queue), daemon=True)
            for i in range(workers)
        ]
        for worker in self.workers:
            worker.start()

    def next(self) -> Batch:
        return self.queue.get()

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()
