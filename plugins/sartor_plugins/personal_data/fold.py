"""Text as a reader sees it: tricks of Unicode undone, with the way back to the original characters.

``４１１１``, ``٤١١١``, ``4\\u200b1\\u00ad11`` and ``4️⃣1️⃣1️⃣1️⃣`` all read as ``4111``. Each folded character knows
which original character it stands for, so that an edit found in the folded text can be made in the original.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Folded", "fold", "hides"]

_PLAIN = re.compile(r"[\x20-\x7e\n\r\t]*")
_LINES = frozenset("\n\r\t\v\f\x85")
_FILLERS = frozenset("\u034f\u115f\u1160\u3164\uffa0\u20e3")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text and where its characters come from."""

    text: str
    places: range | list[int]
    """For each character of `text`, its index in the original."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original behind `text[start:end]`, which must not be empty."""
        return self.places[start], self.places[end - 1] + 1


def is_invisible(character: str) -> bool:
    """Whether a reader does not see `character` at all: zero-width, soft hyphen, direction mark, control."""
    if character in _FILLERS or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return True
    return unicodedata.category(character) in ("Cf", "Cc") and character not in _LINES


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    """What one character reads as: empty for an invisible one and for a mark on the one before."""
    if is_invisible(character):
        return ""
    category = unicodedata.category(character)
    if category in ("Mn", "Me"):
        return ""
    if category == "Zs":
        return " "
    if category == "Pd" or character == "\u2212":
        return "-"
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def fold(text: str) -> Folded:
    """`text` as it reads, in time linear to its length."""
    if _PLAIN.fullmatch(text):
        return Folded(text, range(len(text)))
    out: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        folded = _fold_character(character)
        if folded:
            out.append(folded)
            places.append(place)
    return Folded("".join(out), places)


def hides(text: str) -> bool:
    """Whether letters or digits stand apart by three or more invisible characters, as no honest text has them."""
    if _PLAIN.fullmatch(text):
        return False
    invisible, after = 0, False
    for character in text:
        if is_invisible(character):
            invisible += 1
            continue
        word = character.isalnum()
        if invisible >= 3 and after and word:
            return True
        invisible, after = 0, word
    return False
