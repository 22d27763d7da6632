"""Vectors of character n-grams: they find words that are spelt alike, and know nothing of meaning."""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING, cast

from pydantic import Field
from sartor.hookspecs import hookimpl
from sartor.plugin import Plugin, PluginSettings

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

__all__ = ["NgramsPlugin", "NgramsSettings"]

_WORD = re.compile(r"[^\W_]+")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_SIZES = (3, 4, 5)
_LONGEST = 40
"""Letters of a word that count; what is longer is no word of a language."""

BUCKETS = 1 << 16
"""Size of the table of background frequencies, `ngrams.npy`, made by `training/ngram_background.py`."""


class NgramsSettings(PluginSettings):
    """What stands under `ngrams` in `sartor.yaml`."""

    width: int = Field(default=2048, ge=64, le=16384)
    """Numbers in a vector. An index must be made anew after a change."""


class NgramsPlugin(Plugin):
    """Embeddings without a model: character n-grams of 3 to 5 inside words, accents folded, lower case.

    Each n-gram counts by its rarity in everyday text of seven languages and by the square root of how often it
    stands in the text, and is hashed, with a sign, to one of `width` places; the vector has length 1. So they forgive
    inflection, compounds and spelling mistakes, which keyword search does not. They are not semantic: "car"
    is no nearer to "vehicle" than to "banana". No download, no state, and the same vector on every machine.
    """

    Settings = NgramsSettings
    hook_versions = "1"

    @hookimpl
    def sartor_embeddings(self) -> Embeddings:
        return _embeddings(cast("NgramsSettings", self.settings).width)


def _embeddings(width: int) -> Embeddings:
    """The embeddings; a function, since LangChain's base class is imported only when they are asked for."""
    from langchain_core.embeddings import Embeddings

    class NgramEmbeddings(Embeddings):
        """Vectors of character n-grams. `model` names their kind, for an index to tell them from others.

        `embed_arrays` is for those who take an array, a row for each text: turning 2,048 numbers into a list and back
        takes as long as the search of a small collection.
        """

        def __init__(self) -> None:
            self.model = f"ngrams-1-{width}"

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_arrays(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return embed(texts, width)

        def embed_query(self, text: str) -> list[float]:
            return cast("list[float]", embed([text], width)[0].tolist())

    return NgramEmbeddings()


def embed(texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """The vectors of `texts`, a row each: of length 1, or 0 where a text has no letter or digit."""
    import numpy as np

    found = [[hashed_ngrams(word) for word in folded_words(text)] for text in texts]
    sizes = [sum(map(len, words)) for words in found]
    keys = np.concatenate([np.empty(0, dtype=np.uint64), *(word for words in found for word in words)])
    keys |= np.repeat(np.arange(len(texts), dtype=np.uint64), sizes) << np.uint64(32)
    keys, counts = np.unique(keys, return_counts=True)
    weights = np.sqrt(counts) * (_rarity()[keys % np.uint64(BUCKETS)] / 16)
    # CRC-32 decides about the bucket; a multiplication makes the place independent of it.
    mixed = ((keys & np.uint64(0xFFFFFFFF)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    signs = np.where(mixed >> np.uint64(31), 1.0, -1.0)
    places = (keys >> np.uint64(32)) * np.uint64(width) + mixed % np.uint64(width)
    summed = np.bincount(places.astype(np.intp), weights * signs, minlength=len(texts) * width)
    rows = summed.reshape(len(texts), width)
    lengths = [math.sqrt(row @ row) or 1.0 for row in rows]
    return cast("NDArray[np.float32]", (rows / np.array(lengths)[:, None]).astype(np.float32))


def folded_words(text: str) -> Sequence[str]:
    """The words of `text`, in lower case and without accents."""
    return _WORD.findall(_FOREIGN.sub(_without_accents, text.casefold()))


def _without_accents(found: re.Match[str]) -> str:
    decomposed = unicodedata.normalize("NFKD", found.group())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


@lru_cache(maxsize=50_000)
def hashed_ngrams(word: str) -> NDArray[np.uint32]:
    """The CRC-32 of each n-gram of `word`, whose ends count as characters."""
    import numpy as np

    marked = f"<{word[:_LONGEST]}>"
    found = [zlib.crc32(marked[at : at + size].encode()) for size in _SIZES for at in range(len(marked) - size + 1)]
    return np.array(found, dtype=np.uint32)


@lru_cache(maxsize=1)
def _rarity() -> NDArray[np.uint8]:
    """For each bucket, 16 times the weight of its n-grams: the logarithm of how seldom ten words of text have one.

    As bytes, the whole table stays in a processor's cache.
    """
    import numpy as np

    table = np.load(BytesIO(files("sartor_plugins").joinpath("ngrams.npy").read_bytes()), allow_pickle=False)
    return cast("NDArray[np.uint8]", table)
