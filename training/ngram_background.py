"""How common each character n-gram is in everyday text: the table `plugins/sartor_plugins/ngrams.npy`.

Run `python -m training.ngram_background` with `pyspellchecker` installed (MIT; its word counts come from
OpenSubtitles). For each language, a bucket's probability is that of all words with an n-gram in it; a bucket
takes the highest of its languages, since a text is in one of them. What is stored is the logarithm of how
seldom ten words of text have such an n-gram, in sixteenths, as one byte: 64 KB.
"""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
from sartor_plugins.ngrams import BUCKETS, folded_words, hashed_ngrams

LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
TARGET = Path(__file__).parents[1] / "plugins/sartor_plugins/ngrams.npy"
WORDS = 10
RAREST = 1e-5


def probabilities(language: str) -> np.ndarray:
    """For each bucket, the share of a language's running words that have an n-gram in it."""
    data = files("spellchecker").joinpath(f"resources/{language}.json.gz").read_bytes()
    counts: dict[str, int] = json.loads(gzip.decompress(data))
    total = sum(counts.values())
    buckets = np.zeros(BUCKETS)
    for word, count in counts.items():
        for part in folded_words(word):
            np.add.at(buckets, np.unique(hashed_ngrams(part) % BUCKETS), count / total)
    return buckets


def main() -> None:
    """Make the table anew."""
    highest = np.max([probabilities(language) for language in LANGUAGES], axis=0)
    share = 1 - (1 - np.minimum(highest, 0.9999)) ** WORDS
    rarity = -np.log(np.maximum(share, RAREST))
    np.save(TARGET, np.round(rarity * 16).astype(np.uint8), allow_pickle=False)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
