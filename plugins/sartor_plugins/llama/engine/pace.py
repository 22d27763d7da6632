"""What a batch costs on this machine, learnt while it works."""

from __future__ import annotations

__all__ = ["Pace"]

_DEARER, _DEAREST = 2.0, 50.0
"""How many tokens of prompts take as long as one of a reply in a batch that has both, before any was measured, and what
is believed at most."""

_FASTER, _SLOWER = 0.5, 0.2
"""Weight of the newest measurement: what disturbs one only ever makes it longer."""
_LARGE = 32
"""Tokens from which on a batch is paid by the token."""
_FEW = 0.1
"""Share of tokens of replies up to which a batch tells what tokens of prompts cost."""
_PADDING = 7
"""Tokens for nothing that a batch may have to be faster."""
_CLEARLY = 0.9
"""How much faster it must be."""


class Pace:
    """Seconds by the number of tokens in a batch. A guess is needed only for sizes that never occurred.

    More tokens need not take longer: on many CPUs one token is computed by another routine than several, and some
    numbers suit the routine better than others. (Measured: 1 token 5 ms, 2 tokens 14 ms, 15 tokens 37 ms, 16 tokens
    28 ms.)
    """

    def __init__(self) -> None:
        self._small: dict[int, float] = {}
        self._per_token: float | None = None
        self.dearer = _DEARER
        """How many tokens of prompts take as long as one of a reply in a batch that has both. More where prompts
        and replies are many and long: the routine for large batches looks at what does not concern a token, too."""

    def note(self, tokens: int, seconds: float, written: int | None = None) -> None:
        """A batch of `tokens` took `seconds`; `written`: those that belong to replies, if not all. The others belong to
        prompts, and are cheaper, since nobody wants their logits."""
        written = tokens if written is None else written
        if tokens >= _LARGE and written <= _FEW * tokens:
            self._per_token = _mixed(self._per_token, seconds / (tokens - written + self.dearer * written))
        elif tokens <= _LARGE and written == tokens:
            self._small[tokens] = _mixed(self._small.get(tokens), seconds)
        elif 0 < written < tokens and self._per_token is not None:
            extra = (seconds / self._per_token - (tokens - written)) / written
            self.dearer = _mixed(self.dearer, min(max(extra, 1.0), _DEAREST))

    def size(self, tokens: int) -> int:
        """The size of the fastest batch that has room for `tokens`, of those measured ones that are little larger."""
        plain = self.seconds(tokens)
        sizes = [size for size in self._small if tokens < size <= tokens + _PADDING]
        better = min(sizes, key=lambda size: self._small[size], default=tokens)
        return better if plain is not None and better > tokens and self._small[better] < _CLEARLY * plain else tokens

    def padded(self, tokens: int) -> float | None:
        """What a batch with room for `tokens` takes; None where nothing near was measured."""
        return self.seconds(self.size(tokens))

    def seconds(self, tokens: int) -> float | None:
        """What a batch of `tokens` takes; None where nothing near was measured."""
        if tokens in self._small:
            return self._small[tokens]
        if tokens >= _LARGE and self._per_token is not None:
            return self._per_token * tokens
        known = dict(self._small)
        if self._per_token is not None:
            known.setdefault(_LARGE, self._per_token * _LARGE)
        below = max((size for size in known if size < tokens), default=None)
        above = min((size for size in known if size > tokens), default=None)
        if below is None or above is None:
            return None
        share = (tokens - below) / (above - below)
        return known[below] * (1 - share) + known[above] * share

    def mixed(self, read: int, written: int) -> float | None:
        """What a batch of `read` tokens of prompts and `written` ones of replies takes; None where it is not known."""
        if not read:
            return self.padded(written)
        return None if self._per_token is None else self._per_token * (read + self.dearer * written)

    def reading(self, tokens: int) -> float:
        """What `tokens` of prompts take; 0 before any were read."""
        return (self._per_token or 0.0) * tokens

    def beside(self, written: int) -> float | None:
        """How much longer a batch that reads prompts takes for `written` tokens of replies; None where it is not
        known."""
        return None if self._per_token is None else self._per_token * self.dearer * written

    def within(self, seconds: float, default: int) -> int:
        """How many tokens of prompts can be computed in `seconds`; `default` before any were."""
        return default if not self._per_token else max(1, int(seconds / self._per_token))


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else old + (_FASTER if new < old else _SLOWER) * (new - old)
