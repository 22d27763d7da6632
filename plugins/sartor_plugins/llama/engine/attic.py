"""What the memory had no room for any more, kept in ordinary memory: to copy it back is far cheaper than to compute it.

It is never written to a disk, and forgotten with its tenant. The longest unused sequence of the tenants that have more
than their share goes first, so that nobody loses what lies within its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sartor_plugins.llama.engine.prefixes import Scope

__all__ = ["Attic", "Saved", "Stored"]

Saved = npt.NDArray[np.uint8]
"""What the library gave of a sequence."""


@dataclass(slots=True, eq=False)
class Stored:
    """A sequence as `Context.save` gave it."""

    scope: Scope
    tokens: Sequence[int]
    data: Saved
    used: int = 0


class Attic:
    """Sequences of all scopes, together at most `limit` bytes, of which each tenant has an equal share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stored: dict[Scope, list[Stored]] = {}
        self._sizes: dict[str, int] = {}
        self._clock = 0

    @property
    def size(self) -> int:
        """Bytes that are stored."""
        return sum(self._sizes.values())

    def put(self, stored: Stored) -> None:
        """Store a sequence, in place of those that are a beginning of it; give up old ones where room is short."""
        tenant = stored.scope.tenant
        if len(stored.data) > self.limit:
            return
        for other in list(self._stored.get(stored.scope, ())):
            if other.tokens == stored.tokens[: len(other.tokens)]:
                self._remove(other)
        self._touch(stored)
        self._stored.setdefault(stored.scope, []).append(stored)
        self._sizes[tenant] = self._sizes.get(tenant, 0) + len(stored.data)
        while self.size > self.limit:
            share = self.limit / len(self._sizes)
            above = [one for tenant, size in self._sizes.items() if size > share for one in self._of(tenant)]
            self._remove(min(above, key=lambda one: one.used))

    def best(self, scope: Scope, tokens: Sequence[int]) -> tuple[Stored | None, int]:
        """The sequence of `scope` that begins most like `tokens`, and for how many tokens."""
        found, length = None, 0
        for stored in self._stored.get(scope, ()):
            if (same := _same(stored.tokens, tokens)) > length:
                found, length = stored, same
        return found, length

    def take(self, stored: Stored) -> Saved:
        """The data of `stored`, which was of use."""
        self._touch(stored)
        return stored.data

    def remove(self, stored: Stored) -> None:
        """Give up `stored`, which lies in the memory again, unless that happened already for want of room."""
        if stored in self._stored.get(stored.scope, ()):
            self._remove(stored)

    def forget(self, tenant: str) -> None:
        """Give up everything of `tenant`."""
        for stored in self._of(tenant):
            self._remove(stored)

    def _of(self, tenant: str) -> list[Stored]:
        return [one for scope, several in self._stored.items() if scope.tenant == tenant for one in several]

    def _touch(self, stored: Stored) -> None:
        self._clock += 1
        stored.used = self._clock

    def _remove(self, stored: Stored) -> None:
        scope = stored.scope
        self._stored[scope].remove(stored)
        if not self._stored[scope]:
            del self._stored[scope]
        self._sizes[scope.tenant] -= len(stored.data)
        if not self._sizes[scope.tenant]:
            del self._sizes[scope.tenant]


def _same(stored: Sequence[int], tokens: Sequence[int]) -> int:
    """How many tokens at the start are the same, by halving: most comparisons are of whole slices."""
    low, high = 0, min(len(stored), len(tokens))
    while low < high:
        middle = (low + high + 1) // 2
        if stored[low:middle] == tokens[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
