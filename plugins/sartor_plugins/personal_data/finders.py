"""Where in a text personal data stands: card numbers, IBANs, e-mail addresses, phone numbers.

Checksums are python-stdnum's. Every finder looks at most `LONGEST` characters beyond the place where a match
begins, in the text as it reads, so that what it says of a place never changes once that much text has
followed; and each takes time linear to the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from stdnum import iban, luhn, numdb

from sartor_plugins.personal_data.fold import fold

__all__ = ["LONGEST", "Data", "Found", "compact", "find"]

LONGEST = 96
"""No match is longer, in the text as it reads."""


class Data(StrEnum):
    """A kind of personal data; the values are the names of its settings."""

    CARDS = "cards"
    IBANS = "ibans"
    EMAILS = "emails"
    PHONES = "phones"


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data at `start` to `end` of the original text; `value` is the same however it was written."""

    kind: Data
    start: int
    end: int
    value: str


Span = tuple[int, int, str]
"""Start and end in the folded text, and the value."""

# Card numbers: (first, last) leading digits and the lengths in use. Visa's 13 digits are left out: no such card
# has been valid for many years, and one in ten European article numbers (EAN-13) would pass for one.
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("300", "305", frozenset({14, 16})),  # Diners Club
    ("309", "309", frozenset({14, 16})),
    ("36", "36", frozenset({14, 16})),
    ("38", "39", frozenset({14, 16})),
    ("4", "4", frozenset({16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),
    ("2200", "2204", frozenset({16, 19})),  # Mir
    ("3528", "3589", frozenset({16, 19})),  # JCB
    ("5018", "5020", frozenset({16, 18, 19})),  # Maestro, Dankort
    ("5038", "5038", frozenset({16, 18, 19})),
    ("5893", "5893", frozenset({16, 18, 19})),
    ("6304", "6304", frozenset({16, 18, 19})),
    ("6759", "6763", frozenset({16, 18, 19})),
    ("6011", "6011", frozenset({16, 19})),  # Discover
    ("644", "659", frozenset({16, 19})),
    ("60", "60", frozenset({16})),  # RuPay, Hipercard
    ("508", "508", frozenset({16})),
    ("81", "82", frozenset({16})),
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("9792", "9792", frozenset({16})),  # Troy
)
_LEAST_DIGITS = 14
_MOST_DIGITS = 19
_DIGITS = re.compile(r"[0-9]+")
_BETWEEN_GROUPS = re.compile(r"[ .\-]{1,3}")
_BETWEEN_SINGLES = re.compile(r"[\s,;:.\-_/|*]{1,3}")
_LETTER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _is_card(digits: str) -> bool:
    return (
        len(digits) >= _LEAST_DIGITS
        and any(len(digits) in lengths and first <= digits[: len(first)] <= last for first, last, lengths in _ISSUERS)
        and luhn.is_valid(digits)
    )


def _joined(text: str, place: int, step: int, marks: str) -> bool:
    """Whether a mark at `place` ties a further digit to the number that ends (or begins) there."""
    beyond = place + step
    return 0 <= place < len(text) and text[place] in marks and 0 <= beyond < len(text) and text[beyond] in "0123456789"


def _is_fraction(text: str, groups: list[tuple[int, int]], number: int) -> bool:
    """Whether the group is what follows the point of a decimal number (or the comma, after a lone 0)."""
    start = groups[number][0]
    if _joined(text, start - 1, -1, ","):
        return text[slice(*groups[number - 1])] == "0"
    return _joined(text, start - 1, -1, ".")


def _cards(text: str) -> Iterator[Span]:
    """Whole groups of digits only, so that no part of a longer number is taken for a card."""
    groups = [match.span() for match in _DIGITS.finditer(text)]
    if sum(end - begin for begin, end in groups) < _LEAST_DIGITS:
        return
    first = 0
    while first < len(groups):
        found = _card_from(text, groups, first)
        if found is None:
            first += 1
            continue
        last, value = found
        yield groups[first][0], groups[last][1], value
        first = last + 1


def _card_from(text: str, groups: list[tuple[int, int]], first: int) -> tuple[int, str] | None:
    """The longest card number that begins with group `first`: its last group and its digits."""
    start = groups[first][0]
    if start and (text[start - 1] in _LETTER or text[start - 1] == "+" or _is_fraction(text, groups, first)):
        return None
    best: tuple[int, str] | None = None
    digits = ""
    singles = True
    for last in range(first, min(first + _MOST_DIGITS, len(groups))):
        begin, end = groups[last]
        singles = singles and end - begin == 1
        if last > first:
            between = _BETWEEN_SINGLES if singles else _BETWEEN_GROUPS
            if not between.fullmatch(text, groups[last - 1][1], begin):
                break
        if len(digits) + end - begin > _MOST_DIGITS:
            break
        digits += text[begin:end]
        marks = "." if last == first else ".-"
        tied = _joined(text, end, 1, marks) or (last > first and _joined(text, start - 1, -1, "-"))
        if not tied and not (end < len(text) and text[end] in _LETTER) and _is_card(digits):
            best = (last, digits)
    return best


_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_IBAN_HEAD = re.compile(r"(?:(?<![A-Z0-9])|(?<=IBAN))[A-Z][ .\-]{0,2}[A-Z][ .\-]{0,2}[0-9][ .\-]{0,2}[0-9]")
_IBAN_NEXT = re.compile(r"[ .\-]{0,2}([A-Z0-9])")


@cache
def _iban_length(country: str) -> int:
    """Characters of an IBAN of `country`; 0 where it has none."""
    (_, properties), *_ = numdb.get("iban").info(country)
    return 4 + sum(map(int, re.findall(r"([0-9]+)!", properties.get("bban", "")))) if properties else 0


def _ibans(text: str) -> Iterator[Span]:
    if not _DIGITS.search(text):
        return
    upper = text.translate(_UPPER)
    free = 0
    for head in _IBAN_HEAD.finditer(upper):
        value = compact(head.group())
        length = _iban_length(value[:2])
        end = head.end()
        if head.start() < free or not length:
            continue
        while len(value) < length and (following := _IBAN_NEXT.match(upper, end)):
            value += following.group(1)
            end = following.end()
        if len(value) < length or (end < len(upper) and upper[end] in "0123456789"):
            continue
        if end - head.start() <= LONGEST and iban.is_valid(value, check_country=False):
            free = end
            yield head.start(), end, value


# An address is found from its "@" outwards. `(at)`, `… at … dot …` and the French `… arobase … point …` count too.
_AT = re.compile(r"@| ?[(\[{] ?(?:at|arobase|@) ?[)\]}] ?|(?<=\w) (?:at|arobase) (?=[\w-]{1,40} (?:dot|point) )", re.I)
_DOT = r"(?:\.| ?[(\[{] ?(?:dot|point) ?[)\]}] ?| (?:dot|point) )"
_DOMAIN = re.compile(
    rf"[\w-]{{1,40}}(?:{_DOT}[\w-]{{1,40}}){{0,4}}{_DOT}(?:xn--[a-z0-9-]{{2,20}}|[^\W\d_]{{2,20}})", re.I
)
_ANY_DOT = re.compile(_DOT, re.I)
_GOES_ON = re.compile(r"[^\W_]|[.-][^\W_]")
_LOCAL_MARKS = frozenset("._+%'!#$&=?^~-")
_LONGEST_LOCAL = 40
_LONGEST_DOMAIN = 46


def _emails(text: str) -> Iterator[Span]:
    """Of a name over 40 or a domain over 46 characters only the part next to the ``@`` is found."""
    free = 0
    for at in _AT.finditer(text):
        start = at.start()
        floor = max(free, start - _LONGEST_LOCAL)
        while start > floor and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_MARKS):
            start -= 1
        while start < at.start() and text[start] in _LOCAL_MARKS:
            start += 1
        domain = _DOMAIN.match(text, at.end(), at.end() + _LONGEST_DOMAIN)
        if start == at.start() or domain is None:
            continue
        free = domain.end()
        value = f"{text[start : at.start()]}@{_ANY_DOT.sub('.', domain.group())}".casefold()
        # The mark keeps `x@shop.example.1…` from being taken for an address of `shop.example`.
        yield start, free, f"{value}…" if _GOES_ON.match(text, free) else value


_PHONE = re.compile(r"(?<![\w+./-])(?:\+|\(?0)[0-9](?:[ .\-/()]{0,3}[0-9]){6,13}(?![\w-]|[./][0-9])")


def _phones(text: str) -> Iterator[Span]:
    """Numbers that begin with ``+`` or ``0`` and have 8 to 15 digits: a rough rule, off unless asked for."""
    for match in _PHONE.finditer(text):
        yield match.start(), match.end(), compact(match.group())


_FINDERS: dict[Data, Callable[[str], Iterator[Span]]] = {
    Data.IBANS: _ibans,
    Data.CARDS: _cards,
    Data.EMAILS: _emails,
    Data.PHONES: _phones,
}


def compact(value: str) -> str:
    """`value` without what people put between its characters, in capitals: ``ie29 aibk`` becomes ``IE29AIBK``."""
    return "".join(character for character in fold(value).text if character.isalnum()).upper()


def find(text: str, kinds: frozenset[Data]) -> list[Found]:
    """All data of `kinds` in `text`, in order; where two kinds overlap, IBANs go before cards, e-mails, phones."""
    folded = fold(text)
    taken: list[tuple[int, int]] = []
    found: list[Found] = []
    for kind, finder in _FINDERS.items():
        if kind not in kinds:
            continue
        new = [
            (Found(kind, *folded.span(start, end), value), (start, end))
            for start, end, value in finder(folded.text)
            if not _overlaps(taken, start, end)
        ]
        found += [item for item, _ in new]
        taken = sorted(taken + [span for _, span in new])
    return sorted(found, key=lambda item: item.start)


def _overlaps(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a stretch of `taken` (sorted, apart from each other) shares a character with `start` to `end`."""
    before = bisect_right(taken, (start, start))
    if before and taken[before - 1][1] > start:
        return True
    return bisect_left(taken, (end, end)) > before
