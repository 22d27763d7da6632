"""Replies that are being computed, and what a batch computes of each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sartor_plugins.llama.engine.drafts import Drafter
from sartor_plugins.llama.engine.jobs import Job
from sartor_plugins.llama.engine.memory import Seat
from sartor_plugins.llama.engine.track import Compute, Need, Track

__all__ = ["Run", "Share", "tokens_of"]

R = TypeVar("R")
E = TypeVar("E")

_SHORT = 4
"""Tokens up to which what is pending counts as writing, not as reading a prompt."""


@dataclass(slots=True, eq=False)
class Run(Generic[R, E]):
    """A reply that is being computed."""

    job: Job[R, E]
    seat: Seat
    track: Track
    events: Generator[E | Need, None, None]
    drafter: Drafter
    need: Need | None = None
    """What it waits for."""
    step: int = 0
    """The batch in which it was computed last."""
    since: float = 0.0
    """`Batcher.busy` behind it."""

    @property
    def computes(self) -> bool:
        """Whether it waits for what is pending."""
        return isinstance(self.need, Compute)

    @property
    def writes(self) -> bool:
        """Whether it goes on with the reply, and does not read its prompt."""
        return len(self.track.pending) <= _SHORT


@dataclass(frozen=True, slots=True)
class Share(Generic[R, E]):
    """What a batch computes of one reply."""

    run: Run[R, E]
    count: int
    """Pending tokens."""
    draft: Sequence[int] = ()
    free: bool = False
    """Whether it comes along for nothing."""
    lent: bool = False
    """Whether it is a stretch of a prompt that is read on credit."""

    @property
    def rows(self) -> int:
        """Logits that are wanted: none where the prompt is not read to its end."""
        return 1 + len(self.draft) if self.count == len(self.run.track.pending) else 0


def tokens_of(shares: Sequence[Share[R, E]]) -> int:
    """How many tokens `shares` have together."""
    return sum(share.count + len(share.draft) for share in shares)
