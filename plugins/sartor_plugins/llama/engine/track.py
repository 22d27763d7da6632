"""One sequence of tokens that grows: a prompt, then the reply."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from sartor_plugins.llama.native import Row

__all__ = ["COMPUTE", "Compute", "Fork", "Need", "Place", "Track"]


@dataclass(frozen=True, slots=True)
class Compute:
    """A reply cannot go on before the logits behind its last token are known."""


@dataclass(frozen=True, slots=True)
class Place:
    """A token of a fork: how far behind the end of the track it stands, and on which branches."""

    token: int
    depth: int
    branches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """A reply wants to know the logits behind many continuations of its tokens, which it does not keep."""

    branches: int
    places: Sequence[Place]
    """In an order such that each comes after those before it on its branches."""
    read: Callable[[int, Row], None]
    """Told the logits behind each place, by its number; the row is valid during the call only."""


Need = Compute | Fork

COMPUTE = Compute()


class Track:
    """The tokens of one reply. Nothing is computed before `logits` asks for it.

    A reply is a generator that yields events, and a `Need` where it must wait for the engine, which computes it
    together with others. Behind what is pending the engine may compute a draft: tokens that are likely to follow.
    Where the reply then pushes the very tokens of the draft, their logits are there already.
    """

    def __init__(self, prompt: Sequence[int], size: int, cached: int = 0) -> None:
        """`size`: tokens that prompt and reply may have together; the first `cached` lie in the memory already."""
        self.prompt = len(prompt)
        self.cached = cached
        self.size = size
        self.past: list[int] = list(prompt[:cached])
        """Tokens that lie in the memory and count."""
        self.pending: list[int] = list(prompt[cached:])
        """Tokens that are to be computed before anything else can be known."""
        self.ahead: list[int] = []
        """Tokens of a draft that lie in the memory behind `past`, and do not count yet."""
        self.drafted = 0
        """Tokens of drafts that were computed; in `accepted` those of them that the reply took."""
        self.accepted = 0
        self._rows: list[Row] = []

    @property
    def length(self) -> int:
        """Tokens of prompt and reply so far."""
        return len(self.past) + len(self.pending)

    @property
    def written(self) -> int:
        """Tokens of the reply so far."""
        return self.length - self.prompt

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.size - self.length

    def push(self, tokens: Sequence[int]) -> None:
        """Add tokens to the end."""
        for token in tokens:
            if self.ahead and not self.pending and self.ahead[0] == token:
                self.past.append(self.ahead.pop(0))
                self._rows = self._rows[1:]
                self.accepted += 1
            else:
                self.pending.append(token)
        if self.pending:
            self._rows = []

    def logits(self) -> Generator[Need, None, Row]:
        """The logits for the token that follows, once the engine has computed what is pending.

        They are the library's own memory: valid until the reply waits again.
        """
        while self.pending or not self._rows:
            yield COMPUTE
        return self._rows[0]

    def computed(self, count: int, draft: Sequence[int] = (), rows: Sequence[Row] = ()) -> None:
        """The engine has computed `count` pending tokens and `draft` behind them; `rows` are the logits behind the
        last of them and each token of the draft, none where tokens are pending still."""
        self.past += self.pending[:count]
        self.pending = self.pending[count:]
        self.ahead = list(draft)
        self.drafted += len(draft)
        self._rows = list(rows)

    def freeze(self) -> None:
        """Keep the logits beyond the library's next computation."""
        self._rows = [row.copy() for row in self._rows[:1]]

    def settle(self) -> bool:
        """Give up what is left of the draft; whether there was anything, so that the memory must be trimmed."""
        had = bool(self.ahead)
        self.ahead = []
        return had
