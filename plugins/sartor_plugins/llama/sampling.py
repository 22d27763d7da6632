"""Choosing the next token of a reply that is written freely."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from sartor_plugins.llama.grammar import Grammar
from sartor_plugins.llama.native import Row

__all__ = ["Sampler", "Sampling"]

_LIKELIEST = 256
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """How free the choice is."""

    temperature: float = 0.3
    """0: always the likeliest token."""
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int = 0


class Sampler:
    """Draws tokens for one reply; the same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._recent: deque[int] = deque(maxlen=64)

    def pick(self, row: Row, grammar: Grammar | None = None) -> int:
        """The next token; with a `grammar`, one that it allows. The grammar is asked about the likeliest tokens
        first, since to ask about a whole vocabulary takes longer than to compute a token."""
        row = self._penalized(row)
        if grammar is None:
            token = self._draw(row)
        else:
            token = self._allowed(row, grammar)
            grammar.accept(token)
        self._recent.append(token)
        return token

    def _allowed(self, row: Row, grammar: Grammar) -> int:
        left = row.copy()
        for _ in range(_TRIES):
            token = self._draw(left)
            if grammar.allows(token):
                return token
            left[token] = -np.inf
        return self._draw(grammar.mask(row))

    def _penalized(self, row: Row) -> Row:
        penalty = self._sampling.repeat_penalty
        if penalty == 1.0 or not self._recent:
            return row
        row = row.copy()
        seen = np.fromiter(set(self._recent), dtype=np.int64)
        row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
        return row

    def _draw(self, row: Row) -> int:
        told = self._sampling
        if told.temperature == 0:
            return int(row.argmax())
        count = min(_LIKELIEST, len(row))
        likely = np.argpartition(row, -count)[-count:] if count < len(row) else np.arange(len(row))
        likely = likely[np.argsort(-row[likely], kind="stable")]
        scores = row[likely].astype(np.float64) / told.temperature
        odds = np.exp(scores - scores[0])
        odds /= odds.sum()
        kept = (np.cumsum(odds) - odds < told.top_p) & (odds >= told.min_p * odds[0])
        odds = np.where(kept, odds, 0.0)
        return int(self._random.choice(likely, p=odds / odds.sum()))
