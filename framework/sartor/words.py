"""How much two texts have to do with each other, judged by their words: no model, English and French."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["overlap", "stems_of"]


def overlap(question: str, texts: Sequence[str], stems: Callable[[str], frozenset[str]] | None = None) -> list[float]:
    """How much of the question's informative words each text has, from 0 to 1.

    Words are compared by their stems, accents folded; a word that many of the texts have counts less. `stems` may
    remember what `stems_of` found.
    """
    find = stems or stems_of
    asked = stems_of(question)
    have = [find(text) for text in texts]
    document_frequency = Counter(stem for known in have for stem in known)
    weight = {stem: math.log(1 + (len(texts) + 1) / (document_frequency[stem] + 0.5)) for stem in asked}
    total = sum(weight.values())
    if not total:
        return [0.0 for _ in texts]
    return [sum(weight[stem] for stem in asked & known) / total for known in have]


_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_COMMON_WORDS = """
a an and are as at be by can could do does for from get have how i if in is it me my of on or our shall should tell
that the their there they this to us was we what when where which who why will with would you your au aux avec ce
ces comment dans de des du elle est et il ils je la le les leur lui ma mes mon ne nous ou où par pas peut peux pour
puis quand que quel quelle quels quelles qui sa se ses son sont sur ta tes ton un une vos votre vous y
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def stems_of(text: str) -> frozenset[str]:
    """The stems of the informative words of `text`. Those of an address (hello@shop.example) inform about nothing."""
    plain = _FOREIGN.sub(_without_accents, text.casefold())
    if "@" in plain:
        plain = _ADDRESS.sub(" ", plain)
    return frozenset(_stem(word) for word in _WORD.findall(plain) if word not in _COMMON)


def _without_accents(found: re.Match[str]) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", found.group()) if not unicodedata.combining(c))


@lru_cache(maxsize=10_000)
def _stem(word: str) -> str:
    """A word cut to five letters, or fewer when an ending is taken off; numbers and codes stay whole."""
    if any(c.isdigit() for c in word):
        return word
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:5].rstrip("ey") or word
