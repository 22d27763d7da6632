"""How far back a prompt reaches into a conversation.

If the oldest turn fell out with each new one, every prompt would begin otherwise, and all behind the instructions would
be computed anew. So the oldest are left out several at a time: the prompts between begin alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["lately"]

T = TypeVar("T")


def lately(numbered: Sequence[tuple[int, T]], limit: int, step: int) -> list[T]:
    """Of things that are numbered from 1, the oldest first: the last `limit`; of more, those behind a multiple of
    `step`, and then up to `step` - 1 less. Numbers may be missing."""
    if limit <= 0:
        return []
    newest_left_out = numbered[-limit - 1][0] if len(numbered) > limit else 0
    begin = -(-newest_left_out // step) * step
    return [thing for number, thing in numbered if number > begin]
