"""Text cut into what can be quoted (sentences, list items, table rows) and what can be searched (chunks).

Every piece is a verbatim stretch of the text that it comes from. The rules are made for English and French
and know no language setting, so mixed documents work as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sartor.retrieval import Document, Section

__all__ = ["CHUNKER_VERSION", "Piece", "chunks", "sentences"]

CHUNKER_VERSION = 1
"""Raised whenever `chunks` cuts differently, so that documents are ingested anew."""

_MIN_LETTERS = 3
"""A line with fewer letters and digits is nothing to quote."""

_FRAGMENT = 4
"""What has fewer letters ("No.", "Yes.") joins its neighbour on the line."""

_NEAR = 100
"""Characters that are looked at on either side of a place."""

_WHOLE_LINE = 50
"""A list item or table row of up to so many words is one unit even where it holds several sentences."""

_BULLET = re.compile(r"[ \t]*(?:[-*+•‣◦▪–—·]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]|\(?[A-Z]\))[ \t]+|[ \t]+")
_ROW = re.compile(r".{1,80}? — [^:,.;!?]{1,40}: ")
# Each run of stops is tried once, and never given back: text of nothing but stops takes no longer than other text.
_STOP = re.compile(
    r"(?:(?<![.…])[.…]++|(?<![!?])[!?]++)(?:[\"'”’)\]*_]|[ \u00a0\u202f]?»)*+(?=\s)|(?<![。！？])[。！？]++[」』）]*+"
)
_SPACES = re.compile(r"\s*")
_LAST_WORD = re.compile(r"[\w.°-]*$")
_FIRST_WORD = re.compile(r"[^\W\d_]+")

# Before a name or a further word: never the end of a sentence.
_ALWAYS = (
    "dr mr mrs ms mx prof st ste mme mmes mlle mlles mm hon rev gen sen rep gov sgt capt col lt messrs "
    "cf vs viz e.g eg i.e ie p.ex ex approx resp dépt boul bld env art réf"
)
# Before a number only: "No. 5", but "No. You cannot."
_NUMBERED = (
    "no nos nr n p pp fig figs vol ch chap sec sect eq ref tab pos al tel tél ext min max app ver v r "
    "jan feb apr jun jul aug sep sept oct nov dec janv févr avr juil déc"
)
# Words that begin a sentence far more often than a name: "in the U.S. The law" ends after "U.S.".
_STARTERS = (
    "a an and all any as at but by each for from he his how however i if in it its my no not on our please she "
    "so some that the their then there these they this those to we what when where while who why with you your "
    "au aucun aux avec ce ces cet cette chaque comme dans de des du elle elles en est et il ils je la le les leur "
    "mais merci nos notre nous on ou par pas pour quand que qui sa sans ses si son sur tous tout toute toutes un "
    "une veuillez vos votre vous"
)
_ALWAYS_SET, _NUMBERED_SET, _STARTER_SET = (frozenset(words.split()) for words in (_ALWAYS, _NUMBERED, _STARTERS))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a document that fits a search index."""

    title: str
    """The document's title and the headings above the text: ``Delivery › Abroad``."""
    text: str
    anchor: str = ""
    """Where its first word stands in the file, as the reader gave it: ``page=3``."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A quotable stretch: `outer` is where its bullet begins, `start` where its words do."""

    outer: int
    start: int
    end: int
    words: int
    opens: bool
    """Whether it is the first of its line: a good place to cut."""


def sentences(text: str) -> list[str]:
    """The quotable units of `text`, in order, each verbatim.

    Prose is cut into sentences. Each line is cut from the next, since readers give list items, table rows and
    paragraphs lines of their own; an item loses its bullet or number, and it stays whole, as does a row
    (``Blue — price: 3, stock: 4``), up to 50 words. A fragment of
    a few letters ("No.") joins its neighbour.
    """
    return [text[unit.start : unit.end] for unit in _units(text)]


def chunks(document: Document, words: int = 120) -> list[Piece]:
    """`document` in pieces of at most `words` words, without overlap, each under its path of headings.

    No piece cuts a sentence, unless the sentence alone is longer. A section is cut into pieces of similar
    size; neighbouring sections with the same heading (pages, rows) share a piece where they fit, and it
    carries the anchor of the first.
    """
    pieces: list[Piece] = []
    for heading, group in groupby(document.sections, key=lambda section: section.heading):
        title = _title(document.title, heading)
        for text, anchor in _merged(list(group), words):
            pieces.extend(Piece(title, part, anchor) for part in _cut(text, words))
    return pieces


def _title(document: str, heading: str) -> str:
    """The path of headings, without saying the document's title twice."""
    if not heading or heading == document:
        return document
    return heading if not document or heading.startswith(f"{document} › ") else f"{document} › {heading}"


def _merged(sections: Sequence[Section], words: int) -> Iterator[tuple[str, str]]:
    """Text and anchor of sections of one heading, small neighbours joined up to `words` words."""
    text, anchor, size = "", "", 0
    for section in sections:
        count = len(section.text.split())
        if size and size + count <= words:
            gap = "\n" if section.anchor.startswith("row=") else "\n\n"
            text, size = f"{text}{gap}{section.text.strip()}", size + count
            continue
        if size:
            yield text, anchor
        text, anchor, size = section.text.strip(), section.anchor, count
    if size:
        yield text, anchor


def _cut(text: str, words: int) -> Iterator[str]:
    """`text` in stretches of similar size and at most `words` words, cut between units."""
    units = [part for unit in _units(text) for part in _split_long(text, unit, words)]
    if not units:
        return
    left = sum(unit.words for unit in units)
    pieces = -(-left // words)
    goal = left / pieces
    first, size = 0, 0
    for number, unit in enumerate(units):
        # A new line is a good place to cut, so there a piece may be a little short of the goal.
        enough = size >= 0.8 * goal if unit.opens else size + unit.words / 2 > goal
        if size and (size + unit.words > words or (enough and left <= words * (pieces - 1))):
            yield text[units[first].outer : units[number - 1].end]
            pieces = -(-left // words)
            goal = left / pieces
            first, size = number, 0
        size += unit.words
        left -= unit.words
    yield text[units[first].outer : units[-1].end]


def _split_long(text: str, unit: _Unit, words: int) -> Iterator[_Unit]:
    """`unit` itself, or, where it alone has more than `words` words, stretches of it that have not."""
    if unit.words <= words:
        yield unit
        return
    matches = list(re.finditer(r"\S+", text[unit.start : unit.end]))
    for at in range(0, len(matches), words):
        part = matches[at : at + words]
        start, end = unit.start + part[0].start(), unit.start + part[-1].end()
        yield _Unit(start if at else unit.outer, start, end, len(part), unit.opens and not at)


def _units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    at = 0
    for line in text.splitlines(keepends=True):
        units.extend(_line_units(text, at, at + len(line)))
        at += len(line)
    return units


def _line_units(text: str, start: int, end: int) -> Iterator[_Unit]:
    """The units of the line at `start` to `end`."""
    end = start + len(text[start:end].rstrip())
    bullet = _BULLET.match(text, start, end)
    outer, start = start, bullet.end() if bullet else start
    marked = bullet is not None and bool(bullet.group().strip())
    line = text[start:end]
    whole = (marked or _ROW.match(line) is not None) and len(line.split()) <= _WHOLE_LINE
    stops = [] if whole else [start + stop for stop in _stops(line)]
    opens, begin = True, start
    bounds = [*stops, end]
    for number, stop in enumerate(bounds):
        last = number == len(bounds) - 1
        here = _letters(text, begin, stop)
        if not last and (here < _FRAGMENT or _letters(text, stop, end) < _FRAGMENT):
            continue
        if here >= _MIN_LETTERS:
            yield _Unit(outer if opens else begin, begin, stop, len(text[begin:stop].split()), opens)
        opens = False
        spaces = _SPACES.match(text, stop)
        begin = spaces.end() if spaces else stop


def _letters(text: str, start: int, end: int) -> int:
    """How many letters and digits stand at the beginning of that stretch."""
    return sum(map(str.isalnum, text[start : min(end, start + _NEAR)]))


def _stops(line: str) -> Iterator[int]:
    """Where sentences end within `line`: offsets just after the stop and what closes with it."""
    for match in _STOP.finditer(line):
        rest = line[match.end() : match.end() + _NEAR].lstrip()
        before = line[max(0, match.start() - _NEAR) : match.start()]
        if rest and (match.group()[0] in "。！？" or _ends(before, match.group(), rest)):
            yield match.end()


def _ends(before: str, stop: str, rest: str) -> bool:
    """Whether a sentence ends at `stop`, between `before` and `rest`."""
    after = rest.lstrip("\"'“‘«([*_- \u00a0\u202f")
    if not after or after[0].islower():
        return False
    if stop[0] != "." or stop.startswith(".."):
        return True
    word = _LAST_WORD.search(before)
    name = (word.group() if word else "").strip(".-").lower()
    if name in _ALWAYS_SET or before.endswith(("p. ex", "P. ex", "c.-à-d")):
        return False
    if name in _NUMBERED_SET and after[0].isdigit():
        return False
    tail = name.rpartition(".")[2]
    if len(tail) == 1 and tail.isalpha() and name not in ("a.m", "p.m"):
        first = _FIRST_WORD.match(after)
        return first is not None and first.group().lower() in _STARTER_SET and first.group() not in ("A", "I")
    return True
