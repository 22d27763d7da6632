"""Tying a reply to its sources: quotation, citations, and the check of what a model phrases itself.

In mode `quote` the model chooses among sentences that stand in the passages, each with its number; the reply
is checked against them whatever the model is, so it cannot hold a sentence that no source has. In mode `free`
the model writes, and numbers that point to no passage are taken out.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sartor.text import sentences
from sartor.values import Choices, Citation, Passage
from sartor.words import overlap, stems_of

__all__ = [
    "PRIOR_SCALE",
    "CitationFilter",
    "Quotable",
    "Quoted",
    "Readings",
    "cited",
    "quotable",
    "readable",
    "tells",
    "unsupported",
]

PRIOR_SCALE = 6.0
"""Natural-log weight between a sentence that shares every informative word with the question and one that
shares none, at ``prior: 1``."""


@dataclass(frozen=True)
class Quoted:
    """A reply that was found to consist of sources only."""

    text: str
    citations: tuple[Citation, ...]
    known: bool
    """False when it is the bot's own way to say that the documents do not tell."""


@dataclass(frozen=True)
class Quotable:
    """The sentences that a reply may quote, and the bot's own texts that it may consist of."""

    choices: Choices
    citations: tuple[Citation, ...]
    """Of the first texts of `choices`, in order."""
    unknown: str

    def read(self, reply: str) -> Quoted | None:
        """`reply` as sources only; None when it has no sentence of theirs, or also says that it does not know.

        A reply that consists of choices is taken as it is. Of any other, which only a model that was free to write
        can give, the sentences that stand word for word in a passage are kept, with their right number, and
        everything else is dropped.
        """
        reply = reply.strip()
        if reply in self.choices.texts[self.choices.quotes :]:
            return Quoted(reply, (), reply != self.unknown)
        found = self._chosen(reply)
        if found is None:
            found = self._kept(reply)
        text = " ".join(self.choices.texts[at] for at in found)
        return Quoted(text, tuple(self.citations[at] for at in found), True) if found else None

    def _chosen(self, reply: str) -> list[int] | None:
        """The numbers of the choices that `reply` consists of; None when it is anything else."""
        texts, found = self.choices.texts, list[int]()
        while reply and len(found) < self.choices.at_most:
            fitting = [at for at in range(self.choices.quotes) if reply.startswith(texts[at]) and at not in found]
            if not fitting:
                return None
            found.append(max(fitting, key=lambda at: len(texts[at])))
            reply = reply[len(texts[found[-1]]) :].lstrip()
        return None if reply else found

    def _kept(self, reply: str) -> list[int]:
        """The numbers of the choices whose sentence is a sentence of `reply`, spacing and quotation marks aside."""
        numbers = {_bare(citation.quote): at for at, citation in reversed(list(enumerate(self.citations)))}
        if self.unknown and self.unknown in reply:
            return []  # it takes back what it says
        said = [_bare(sentence) for sentence in sentences(_CITATION.sub("", reply))]
        return list(dict.fromkeys(numbers[sentence] for sentence in said if sentence in numbers))[
            : self.choices.at_most
        ]


def _bare(sentence: str) -> str:
    return " ".join(sentence.split()).strip("\"'“”‘’«» ")


class Readings:
    """What was read of a bot's texts already: the same passages come up again and again. Bounded, and one for each bot,
    so that nothing of a tenant outlives its bots."""

    def __init__(self) -> None:
        self.sentences = lru_cache(maxsize=256)(sentences)
        self.stems = lru_cache(maxsize=1024)(stems_of)


def quotable(
    question: str,
    passages: Sequence[Passage],
    own: Sequence[str],
    *,
    candidates: int,
    at_most: int,
    prior: float,
    doubt: float = 0.0,
    tools: Sequence[str] = (),
    readings: Readings | None = None,
) -> Quotable:
    """The choices for a reply to `question`.

    The `candidates` sentences of `passages` that share most informative words with the question are kept, in
    the passages' order; each gets the prior weight ``exp(prior × scale × overlap)``, and so does a tool call, by
    what `tools` tells of each tool. `own` are the bot's own texts (greeting, unknown), the last of which says that
    the documents do not tell; they weigh as much as a sentence whose overlap is `doubt`.
    """
    readings = readings or Readings()
    found: list[tuple[str, Citation]] = []
    seen: set[str] = set()
    for number, passage in enumerate(passages, start=1):
        for sentence in readings.sentences(passage.text):
            if sentence not in seen:
                seen.add(sentence)
                text = f"{sentence} [{number}]"
                found.append((text, Citation(number, passage.id, passage.source, passage.title, sentence)))
    told = [f"{citation.title} {citation.quote}" for _, citation in found]
    shares = overlap(question, [*told, *tools], readings.stems)
    weights = [math.exp(prior * PRIOR_SCALE * share) for share in shares]
    best = sorted(range(len(found)), key=lambda at: (-shares[at], at))[:candidates]
    kept = sorted(best)
    texts = tuple(found[at][0] for at in kept) + tuple(own)
    choices = Choices(
        texts,
        (*(weights[at] for at in kept), *(math.exp(prior * PRIOR_SCALE * doubt) for _ in own)),
        quotes=len(kept),
        at_most=at_most,
        call=max(weights[len(found) :], default=1.0),
    )
    return Quotable(choices, tuple(found[at][1] for at in kept), own[-1] if own else "")


_CITATION = re.compile(r" ?\[(\d{1,3})\]")


class CitationFilter:
    """Takes numbers in brackets that point to no passage out of a reply while it streams.

    `passages` is how many there are; None: brackets are no citations, and stay."""

    def __init__(self, passages: int | None) -> None:
        self._passages = passages
        self._held = ""

    def feed(self, text: str, *, final: bool = False) -> str:
        """A further piece; gives back what is sure, holding back what may be the start of a citation."""
        if self._passages is None:
            return text
        most, text = self._passages, self._held + text
        cut = len(text)
        if not final and (tail := re.search(r"(?: |(?: ?\[\d{0,3}))$", text)):
            cut = tail.start()
        self._held = text[cut:]
        return _CITATION.sub(lambda m: m[0] if 1 <= int(m[1]) <= most else "", text[:cut])


def cited(reply: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """The passages that `reply` points to by number, each once, in order of appearance."""
    numbers = dict.fromkeys(int(match[1]) for match in _CITATION.finditer(reply))
    return tuple(
        Citation(number, passage.id, passage.source, passage.title)
        for number in numbers
        if 1 <= number <= len(passages) and (passage := passages[number - 1])
    )


_CALENDAR_WORDS = """
january february march april may june july august september october november december monday tuesday wednesday
thursday friday saturday sunday janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre
lundi mardi mercredi jeudi vendredi samedi dimanche
"""
_MONTHS_AND_DAYS = frozenset(_CALENDAR_WORDS.split())
_TOKEN = re.compile(r"[\w][\w.,:/@+-]*[\w]|\w")


def unsupported(reply: str, sources: Sequence[str]) -> list[str]:
    """The figures, codes, dates and names in `reply` that no source has: what a model may have made up.

    Judged are words with a digit, words with a capital letter that do not begin a sentence, and the names of
    months and days. Spelling counts, letter case does not; a number's grouping does not.
    """
    known = {_plain(token) for source in sources for token in _pieces(source)}
    return [token for token in _claims(reply) if not {_plain(piece) for piece in _pieces(token)} <= known]


def tells(reply: str, results: Sequence[str]) -> bool:
    """Whether `reply` says something of tool results: it has a word of them that is no mere key, and it does not
    stammer, as a small model may."""
    words = [_plain(word) for word in _pieces(reply)]
    runs = [tuple(words[at : at + 3]) for at in range(len(words) - 2)]
    stammers = 3 * len(set(runs)) < 2 * len(runs) or any(len(word) > 40 for word in words)
    values = {_plain(piece) for result in results for value in _values(result) for piece in _pieces(value)}
    return not stammers and bool(values & set(words))


def readable(result: str) -> str:
    """A tool's result for a person: a JSON object as lines of ``name: value``, anything else as it is."""
    try:
        found = json.loads(result)
    except ValueError:
        return result
    if not isinstance(found, dict) or not found or any(isinstance(value, dict | list) for value in found.values()):
        return result
    told = [(name.replace("_", " ").strip(), value) for name, value in found.items() if value not in (None, "")]
    return "\n".join(f"{name[:1].upper()}{name[1:]}: {value}" for name, value in told)


def _values(result: str) -> list[str]:
    try:
        found = json.loads(result)
    except ValueError:
        return [result]
    values = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else [found]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


def _claims(reply: str) -> list[str]:
    claims: list[str] = []
    for sentence in sentences(reply) or [reply]:
        for at, token in enumerate(_TOKEN.findall(sentence)):
            telling = any(c.isdigit() for c in token) or _plain(token) in _MONTHS_AND_DAYS
            if telling or (at > 0 and token[0].isupper() and token != "I"):
                claims.append(token)
    return claims


def _pieces(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+", text)


def _plain(token: str) -> str:
    if re.fullmatch(r"\d+([.,]\d+)+", token) and not re.fullmatch(r"\d{1,3}([.,]\d{3})+", token):
        return token.replace(",", ".")  # 12.50 is not 1250, but 1,250 is
    folded = unicodedata.normalize("NFKD", token.casefold())
    return "".join(c for c in folded if c.isalnum())
