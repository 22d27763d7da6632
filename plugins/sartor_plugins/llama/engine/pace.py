"""What a batch costs on this machine, learnt while it works."""

from __future__ import annotations

__all__ = ["Pace"]

_MEMORY = 0.2
"""Weight of the newest measurement."""
_LARGE = 32
"""Tokens from which on a batch is paid by the token."""


class Pace:
    """Seconds by the number of tokens in a batch. A guess is needed only for sizes that never occurred."""

    def __init__(self) -> None:
        self._small: dict[int, float] = {}
        self._per_token: float | None = None

    def note(self, tokens: int, seconds: float) -> None:
        """A batch of `tokens` took `seconds`."""
        if tokens >= _LARGE:
            self._per_token = _mixed(self._per_token, seconds / tokens)
        if tokens <= _LARGE:
            self._small[tokens] = _mixed(self._small.get(tokens), seconds)

    def seconds(self, tokens: int) -> float | None:
        """What a batch of `tokens` takes; None where nothing near was measured."""
        if tokens in self._small:
            return self._small[tokens]
        if tokens >= _LARGE and self._per_token is not None:
            return self._per_token * tokens
        below = [size for size in self._small if size < tokens]
        above = [size for size in self._small if size > tokens]
        if not (below and above):
            return None
        low, high = max(below), min(above)
        share = (tokens - low) / (high - low)
        return self._small[low] * (1 - share) + self._small[high] * share

    def within(self, seconds: float, default: int) -> int:
        """How many tokens of prompts can be computed in `seconds`; `default` before any were."""
        return default if not self._per_token else max(1, int(seconds / self._per_token))


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else old + _MEMORY * (new - old)
