"""Guessing how a reply goes on, from what stands in its own prompt: prompt-lookup speculation.

After A. Saxena, "Prompt Lookup Decoding" (2023): where the last tokens stood before, what followed them then is
likely to follow again, which is so when a reply quotes. A wrong guess costs some time and changes nothing: the engine
computes the draft together with the token before it, and the reply takes of it only what it would have said anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

from sartor_plugins.llama.engine.pace import Pace

__all__ = ["Drafter"]

_LONG, _SHORT = 3, 2
"""Tokens that must be the same for a guess; the longer match is tried first."""
_LENGTHS = (3, 7, 11, 15, 23, 31)
_MEMORY = 0.3
_DOUBT = 0.15
"""Below this chance that a token is right, drafts are made only now and then."""
_REST = 16
"""Tokens between drafts that are made to see whether they are of use again."""


class Drafter:
    """Drafts for one reply."""

    def __init__(self, longest: int) -> None:
        """`longest`: tokens of a draft; 0: none are made."""
        self._longest = longest
        self._known: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self._chance = 0.6
        self._rest = 0

    def guess(self, tokens: Sequence[int], most: int) -> list[int]:
        """What may follow `tokens`, at most `most`; empty where nothing like their end stood before."""
        most = min(most, self._longest)
        if most < 1:
            return []
        self._index(tokens)
        for size in (_LONG, _SHORT):
            at = self._known.get(tuple(tokens[-size:]))
            if at is not None and len(tokens) >= size:
                return list(tokens[at : at + most])
        return []

    def length(self, pace: Pace, others: int) -> int:
        """How long a draft pays: the length with most expected tokens a second, in a batch with `others` tokens."""
        if self._rest > 0:
            self._rest -= 1
            return 0
        if self._chance < _DOUBT:
            self._rest = _REST
            return min(_LENGTHS[0], self._longest)
        plain = pace.seconds(others + 1)
        if plain is None:
            return 0  # learn first what a batch without a draft takes
        best, most = 0, 1 / plain
        for length in _LENGTHS:
            if length > self._longest:
                break
            seconds = pace.seconds(others + 1 + length)
            if seconds is None:
                return length  # try it out
            if (speed := (1 + self._expected(length)) / seconds) > most:
                best, most = length, speed
        return best

    def learn(self, drafted: int, accepted: int) -> None:
        """Of a draft, `accepted` tokens at its start were right."""
        if drafted:
            tried = min(drafted, accepted + 1)
            self._chance += _MEMORY * (accepted / tried - self._chance)

    def _expected(self, length: int) -> float:
        """How many tokens of a draft will be right."""
        chance = min(self._chance, 0.98)
        return chance * (1 - chance**length) / (1 - chance)

    def _index(self, tokens: Sequence[int]) -> None:
        """Note where each stretch ended, the latest place that something followed."""
        for end in range(max(self._indexed, _SHORT), len(tokens)):
            for size in (_LONG, _SHORT):
                if end >= size:
                    self._known[tuple(tokens[end - size : end])] = end
        self._indexed = max(self._indexed, len(tokens) - 1)
