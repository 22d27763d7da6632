"""Finding phrases in a text by whole words, whatever their accents, case and plural."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["Phrases", "Similar", "content", "words"]

_WORD = re.compile(r"\w{1,60}\*?")

# Words that say nothing of a topic, in English and French.
_SAYS_NOTHING_TEXT = """
a about after again all also am an and any are as at be been before but by can could did do does doing done
for from get give go going good got had has have hello help her here hi him his how i if in into is it its
just know let like m make many may me mine more much must my need no not now of ok okay on one or our out
please re s say see shall she should so some such t take tell than thank thanks that the their them then there
these they thing this those to too u up us ve very want was way we well were what when where which while who
why will with would yes yet you your ai ainsi alors apres au aucun aussi autre aux avant avec avez avoir
beaucoup bien bonjour bonsoir c ca car ce cela ces cet cette chez comme comment d dans de des dois donc dont
du elle en encore es est et etait etes etre eu fait faire faut il ils j je l la le les leur lui ma mais meme
merci mes moi moins mon n ne ni non nos notre nous ont ou oui par pas peu peut peux plait plus pour pourquoi
pouvez puis qu quand que quel quelle quels quelles qui quoi sa sans se ses si soit son sont sous suis sur ta
te tes toi ton tous tout toute tres tu un une va veux vos votre voudrais vous y
"""
_SAYS_NOTHING = frozenset(_SAYS_NOTHING_TEXT.split())


def words(text: str) -> list[str]:
    """The words of `text`: small, without accents, in the singular. A star at the end of a word stays."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in plain if unicodedata.category(character) not in ("Mn", "Cf"))
    return [_singular(word) for word in _WORD.findall(plain)]


def content(text: str) -> list[str]:
    """The words of `text` that say something of its topic, none twice."""
    return [word for word in dict.fromkeys(words(text)) if word not in _SAYS_NOTHING and not word.isdigit()]


@lru_cache(maxsize=8192)
def _singular(word: str) -> str:
    """`word` without the ending of a plural, by rules that fit English and French."""
    if word.endswith("*") or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("aux") and len(word) > 5:
        return word[:-2] + "l"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith(("s", "x")) else word


class Phrases:
    """A set of phrases to look for at once, in time linear to the text."""

    def __init__(self, phrases: Iterable[str], exceptions: Iterable[str] = ()) -> None:
        """Where one of `exceptions` begins at the same word, a phrase does not count."""
        self._by_start: dict[str, list[Sequence[str]]] = {}
        self._exceptions: dict[str, list[Sequence[str]]] = {}
        for index, given in ((self._by_start, phrases), (self._exceptions, exceptions)):
            for phrase in given:
                if wanted := words(phrase):
                    index.setdefault(wanted[0], []).append(wanted)
        first = (word for word in (*self._by_start, *self._exceptions) if word.endswith("*"))
        self._starred = sorted({len(word) - 1 for word in first if len(word) > 2})

    def among(self, found: Sequence[str]) -> bool:
        """Whether a phrase stands in `found`, the words of a text."""
        return any(
            self._begins(self._by_start, found, start) and not self._begins(self._exceptions, found, start)
            for start in range(len(found))
        )

    def _begins(self, index: dict[str, list[Sequence[str]]], found: Sequence[str], start: int) -> bool:
        word = found[start]
        keys = [word, *(f"{word[:length]}*" for length in self._starred if length <= len(word))] if index else []
        return any(
            len(wanted) <= len(found) - start
            and all(_same(one, other) for one, other in zip(wanted, found[start : start + len(wanted)], strict=True))
            for key in keys
            for wanted in index.get(key, ())
        )


def _same(wanted: str, word: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


class Similar:
    """Descriptions of topics, compared with a question word by word over groups of three characters, so that
    other forms of a word and misspellings count, and other words for the same thing do not."""

    def __init__(self, descriptions: Iterable[str], share: float) -> None:
        """A description fits when at least `share` of its words have a counterpart in the question."""
        self._share = share
        self._wanted = [[_grams(word.rstrip("*")) for word in content(text)] for text in descriptions]

    def fits(self, question: Sequence[str]) -> bool:
        """Whether one of the descriptions fits `question`, the words of a text."""
        found = [_grams(word) for word in dict.fromkeys(question)]
        return any(
            wanted and sum(any(_alike(word, other) for other in found) for word in wanted) >= self._share * len(wanted)
            for wanted in self._wanted
        )


@lru_cache(maxsize=8192)
def _grams(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two words share six tenths of their groups: ``deliver`` and ``delivery``, ``recieve`` and ``receive``."""
    return 2 * len(one & other) >= 0.6 * (len(one) + len(other))
