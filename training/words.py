"""Words: their stems, their inflected forms, and the ones that say nothing."""

from __future__ import annotations

import random
import re
import unicodedata
from functools import lru_cache

__all__ = ["STOP", "WORD", "inflect", "stem", "typo"]

WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
STOP = frozenset(
    """a an the of to in on at by for from with and or but if is are was were be been being am do does did can could may might
    must shall should will would not no nor it its this that these those there here he she they we you i me my our your his her
    their them us as than then so such which who whom whose what when where why how all any some each other into over under up
    out about also only just more most very has have had one two get got let make made use used using via per etc e.g i.e
    le la les l un une des du de d au aux à et ou mais si est sont était été être a ont avait avoir je tu il elle nous vous ils
    elles on ce cet cette ces son sa ses leur leurs mon ma mes notre nos votre vos qui que quoi quel quelle quels quelles dont où
    quand comment pourquoi pour par sur sous dans avec sans en y ne pas plus se s qu n c j m t peut peuvent doit fait tout tous
    toute toutes aussi comme entre""".split()
)
ENDINGS = (
    "ations",
    "ation",
    "ements",
    "ement",
    "ments",
    "ment",
    "ities",
    "ings",
    "ing",
    "ions",
    "ion",
    "ers",
    "ies",
    "ity",
    "ées",
    "és",
    "ée",
    "ent",
    "ons",
    "eur",
    "euse",
    "able",
    "ness",
    "ed",
    "er",
    "es",
    "ez",
    "ly",
    "al",
    "s",
    "x",
    "e",
    "y",
    "é",
)


@lru_cache(200_000)
def stem(word: str) -> str:
    """A rough stem, the same for most forms of an English or French word."""
    w = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
    if w.endswith(("'s", "’s")):
        w = w[:-2]
    elif "'" in w or "’" in w:  # l'adresse, d'un
        w = re.split("['’]", w)[-1]
    if any(c.isdigit() for c in w):
        return w
    for _ in range(2):
        for ending in ENDINGS:
            if w.endswith(ending) and len(w) - len(ending) >= 3:
                w = w[: -len(ending)]
                break
    if len(w) > 4 and w[-1] == w[-2]:
        w = w[:-1]
    return w


def inflect(word: str, rng: random.Random, lang: str) -> str:
    """Another form of a lower-case word, often but not always a correct one."""
    if len(word) < 4 or not word.isalpha():
        return word
    if lang == "fr":
        if word.endswith("s"):
            return word[:-1]
        return word + "s" if not word.endswith(("x", "z")) else word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("ing") and len(word) > 6:
        return word[:-3] + rng.choice(["", "e", "ed"])
    if word.endswith("ed") and len(word) > 5:
        return word[:-2] + rng.choice(["", "ing", "es"])
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    if word.endswith("e"):
        return rng.choice([word + "s", word + "d", word[:-1] + "ing"])
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + rng.choice(["s", "s", "ing", "ed"])


def typo(word: str, rng: random.Random) -> str:
    """One slip of the finger."""
    if len(word) < 5:
        return word
    i = rng.randrange(1, len(word) - 2)
    return rng.choice(
        [word[:i] + word[i + 1 :], word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i] + word[i:]]
    )
