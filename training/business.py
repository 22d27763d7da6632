"""Passages about businesses, made from the facts in facts_en.txt and facts_fr.txt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from training.slots import SLOT, fill, vary

__all__ = ["Block", "Fact", "blocks", "make_fact", "make_question"]


@dataclass(frozen=True)
class Block:
    """One kind of fact: patterns of sentences that state it and of questions that ask for it."""

    name: str
    topic: str
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass
class Fact:
    """A block with values, put into one sentence."""

    block: Block
    sentence: str
    values: dict[str, str] = field(default_factory=dict)


@cache
def blocks(lang: str) -> tuple[Block, ...]:
    found: list[Block] = []
    name, topic, sentences, questions = "", "", [], []

    def close() -> None:
        if name:
            found.append(Block(name, topic, tuple(sentences), tuple(questions)))

    for line in (Path(__file__).parent / f"facts_{lang}.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            close()
            name, topic = line.strip("[]").split()
            sentences, questions = [], []
        elif line.startswith("?"):
            questions.append(line[1:].strip())
        elif line and not line.startswith("#"):
            sentences.append(line)
    close()
    return tuple(found)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def make_fact(block: Block, rng: random.Random, lang: str, values: dict[str, str] | None = None) -> Fact:
    values = dict(values or {})
    sentence = capital(fill(vary(rng.choice(block.sentences), rng), values, rng, lang))
    if sentence[-1] not in ".:!?" and len(sentence.split()) > 6:
        sentence += "."
    return Fact(block, sentence, values)


def make_question(fact: Fact, rng: random.Random, lang: str) -> tuple[str, bool] | None:
    """A question for the fact, and whether it names a value that only this fact has."""
    for _ in range(8):
        pattern = vary(rng.choice(fact.block.questions), rng)
        names = SLOT.findall(pattern)
        if all(fact.values.get(name, "\0") in fact.sentence for name in names):
            break
    else:
        return None
    text = fill(pattern, fact.values, rng, lang)
    way = rng.random()
    if way < 0.7:
        text = capital(text)
    elif way < 0.8:
        text = text.lower()
    if rng.random() < 0.75 and len(text.split()) > 2:
        text += "?" if lang == "en" else " ?"
    return text, bool(names)
