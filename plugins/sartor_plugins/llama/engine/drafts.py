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
_SIZES = (4, 8, 12, 16, 24, 32)
"""Tokens of a batch that drafts fill up to: the sizes that suit the routines of CPUs."""
_MEMORY = 0.3
_GLANCE = 0.1
"""Weight of a guess that was not computed, but turned out right or wrong."""


class Drafter:
    """Drafts for one reply."""

    def __init__(self, longest: int) -> None:
        """`longest`: tokens of a draft; 0: none are made."""
        self._longest = longest
        self._known: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self._chance = 0.6
        self._foreseen: tuple[int, int] | None = None
        """A place, and the token that was guessed for it."""

    def guess(self, tokens: Sequence[int], most: int) -> list[int]:
        """What may follow `tokens`, at most `most`; empty where nothing like their end stood before.

        Where the guess is not computed, the next call sees whether it was right, which costs nothing.
        """
        most = min(most, self._longest)
        if most < 1:
            return []
        self._look_back(tokens)
        self._index(tokens)
        for size in (_LONG, _SHORT):
            at = self._known.get(tuple(tokens[-size:]))
            if at is not None and len(tokens) >= size:
                self._foreseen = len(tokens), tokens[at]
                return list(tokens[at : at + most])
        return []

    def length(self, pace: Pace, used: int, most: int, apart: float | None = None) -> int:
        """How long a draft of at most `most` pays in a batch of `used` tokens: the length with most expected tokens a
        second. Those of others count, since they have to wait for it. `apart`: the seconds that these take, where the
        library computes the draft after them."""
        plain = pace.padded(used) if apart is None else apart
        if plain is None:
            return 0  # learn first what a batch without a draft takes
        best, speed = 0, used / plain
        for length in (size if apart is not None else size - used for size in _SIZES):
            if length > most:
                break
            if length < 1:
                continue
            seconds = pace.seconds(used + length) if apart is None else pace.seconds(length)
            if seconds is None:
                return length if apart is None else best  # try it out, but where it teaches nothing
            if apart is not None:
                seconds += apart
            if (faster := (used + self._expected(length)) / seconds) > speed:
                best, speed = length, faster
        return best

    def learn(self, drafted: int, accepted: int) -> None:
        """Of a draft, `accepted` tokens at its start were right."""
        if drafted:
            self._foreseen = None
            tried = min(drafted, accepted + 1)
            self._chance += _MEMORY * (accepted / tried - self._chance)

    def _look_back(self, tokens: Sequence[int]) -> None:
        """Learn from the last guess, if it was not computed."""
        if self._foreseen is not None:
            place, token = self._foreseen
            self._foreseen = None
            if place < len(tokens):
                self._chance += _GLANCE * ((tokens[place] == token) - self._chance)

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
