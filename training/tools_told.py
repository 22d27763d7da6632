"""Tools as people write them, out of tools_en.txt and tools_fr.txt: descriptions, messages and results."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from training.slots import vary

__all__ = ["Pattern", "patterns", "put"]

HELLO = {
    "en": ("hi, ", "hello, ", "Hi! ", "Hello. ", "hey, ", "good morning, ", "excuse me, ", "sorry, ", "ok, ", "and "),
    "fr": ("bonjour, ", "Bonjour ! ", "salut, ", "bonsoir, ", "excusez-moi, ", "et "),
}


@dataclass
class Pattern:
    """One kind of tool; the slots of a message are the first names of its parameters."""

    names: list[str]
    descriptions: list[str] = field(default_factory=list)
    params: dict[str, tuple[list[str], str]] = field(default_factory=dict)  # other names, kind of value
    messages: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


@cache
def patterns(lang: str) -> tuple[Pattern, ...]:
    found: list[Pattern] = []
    for line in (Path(__file__).parent / f"tools_{lang}.txt").read_text("utf-8").splitlines():
        sign, rest = line[:1], line[1:].strip()
        if sign == "[":
            found.append(Pattern(rest.rstrip("]").split("|")))
        elif sign == ":":
            found[-1].descriptions.append(rest)
        elif sign == "?":
            found[-1].messages.append(rest)
        elif sign == ">":
            found[-1].results = rest.split("|")
        elif sign and sign != "#":
            names, kind = line.split(" = ", 1)
            every = names.split("/")
            found[-1].params[every[0]] = (every, kind)
    return tuple(found)


def put(pattern: str, shown: dict[str, str], rng: random.Random, lang: str) -> str:
    """A message with these values; its letter case and punctuation vary, those of the values do not."""
    parts = re.split(r"(\{\w+\})", vary(pattern, rng))
    way = rng.random()
    if way < 0.3:
        parts = [p if p.startswith("{") else p.lower() for p in parts]
    elif way < 0.7:
        parts[0] = parts[0][:1].upper() + parts[0][1:]
    text = "".join(shown[p[1:-1]] if p.startswith("{") else p for p in parts)
    if rng.random() < 0.2:
        text = rng.choice(HELLO[lang]) + text
    if rng.random() < 0.6:
        text += rng.choice(
            ["?", "?", "?", ".", "!", " please", "??"] if lang == "en" else [" ?", " ?", "?", ".", " !", " svp"]
        )
    return text
