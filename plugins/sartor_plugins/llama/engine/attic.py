"""What the memory had no room for any more, kept in ordinary memory: to copy it back is far cheaper than to compute it.

Below it there may be a cellar, on a disk, for what it has no room for either. Both are forgotten with the tenant. The
longest unused sequence of the tenants that have more than their share goes first, so that nobody loses what lies within
its share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.saved import Saved

if TYPE_CHECKING:
    from sartor_plugins.llama.engine.cellar import Cellar, Jar

__all__ = ["Attic", "Stored"]

_MOST = 1000
"""Sequences of one scope: to look through five thousand takes as long as a batch."""


@dataclass(slots=True, eq=False)
class Stored:
    """A sequence as `Context.save` gave it."""

    scope: Scope
    tokens: Sequence[int]
    data: Saved | None
    """None: it lies in the cellar."""
    used: int = 0
    size: int = field(init=False)
    """Bytes."""
    jar: Jar | None = None

    def __post_init__(self) -> None:
        self.size = len(self.data) if self.data is not None else 0


class _Floor:
    """How much lies in ordinary memory, or in the cellar, and whose it is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stored: dict[str, set[Stored]] = {}
        self._sizes: dict[str, int] = {}

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    def add(self, stored: Stored) -> None:
        tenant = stored.scope.tenant
        self.stored.setdefault(tenant, set()).add(stored)
        self._sizes[tenant] = self._sizes.get(tenant, 0) + stored.size

    def remove(self, stored: Stored) -> None:
        tenant = stored.scope.tenant
        self.stored[tenant].remove(stored)
        self._sizes[tenant] -= stored.size
        if not self.stored[tenant]:
            del self.stored[tenant], self._sizes[tenant]

    def leaving(self, newcomer: Stored | None = None, instead: Collection[Stored] = ()) -> list[Stored]:
        """What has to leave, once `newcomer` is there `instead` of others, so that there is not too much."""
        sizes, gone = dict(self._sizes), set(instead)
        for other in instead:
            sizes[other.scope.tenant] -= other.size
        if newcomer is not None:
            sizes[newcomer.scope.tenant] = sizes.get(newcomer.scope.tenant, 0) + newcomer.size
        while sum(sizes.values()) > self.limit:
            share = self.limit / sum(size > 0 for size in sizes.values())
            above = [one for tenant, size in sizes.items() if size > share for one in self.stored.get(tenant, ())]
            if newcomer is not None and sizes[newcomer.scope.tenant] > share:
                above.append(newcomer)
            longest_unused = min((one for one in above if one not in gone), key=lambda one: one.used)
            gone.add(longest_unused)
            sizes[longest_unused.scope.tenant] -= longest_unused.size
        return sorted(gone.difference(instead), key=lambda one: one.used)


class Attic:
    """Sequences of all scopes, together at most `limit` bytes and what fits into the cellar. Each tenant has an equal
    share of both."""

    def __init__(self, limit: int, cellar: Cellar | None = None) -> None:
        self.limit = limit
        self._cellar = cellar
        self._stored: dict[Scope, list[Stored]] = {}
        self._above = _Floor(limit)
        self._below = _Floor(cellar.limit if cellar is not None else 0)
        self._clock = 0
        self._swept = 0

    @property
    def size(self) -> int:
        """Bytes in ordinary memory."""
        return self._above.size

    @property
    def busy(self) -> bool:
        """Whether the disk is what hinders it: it may take more later."""
        return self._cellar is not None and self._cellar.busy

    def takes(self, scope: Scope, tokens: Sequence[int], size: int) -> bool:
        """Whether `tokens`, of `size` bytes, can be `put` now, and nothing is lost for them. Where that is too much for
        the disk at once, something goes down ahead."""
        if self._above.size + size <= self.limit:
            return True
        if self._cellar is None:
            return False
        newcomer = Stored(scope, tokens, None, used=self._clock + 1)
        newcomer.size = size
        instead = self._beginnings(newcomer)
        above = [one for one in instead if one.jar is None]
        down = self._above.leaving(newcomer, above) if size <= self.limit else [newcomer]
        below = self._below.size - sum(one.size for one in instead if one.jar is not None)
        if below + sum(one.size for one in down) > self._below.limit:
            return False
        if self._cellar.takes((one.scope.tenant, one.size) for one in down):
            return True
        if down[0] is not newcomer and self._cellar.takes([(down[0].scope.tenant, down[0].size)]):
            self._carry_down(down[0])
        return False

    def put(self, stored: Stored) -> None:
        """Store a sequence, in place of those that are a beginning of it; give up old ones where room is short."""
        if stored.size > max(self.limit, self._below.limit):
            return
        self._sweep()
        if stored.size > self.limit and not self._bottle(stored):
            return
        for other in self._beginnings(stored):
            self._remove(other)
        self.touch(stored)
        self._stored.setdefault(stored.scope, []).append(stored)
        (self._above if stored.jar is None else self._below).add(stored)
        while len(several := self._stored[stored.scope]) > _MOST:
            self._remove(min(several, key=lambda one: one.used))
        for surplus in self._above.leaving():
            self._carry_down(surplus)
        for surplus in self._below.leaving():
            self._remove(surplus)

    def best(self, scope: Scope, tokens: Sequence[int]) -> tuple[Stored | None, int]:
        """The sequence of `scope` that begins most like `tokens`, and for how many tokens."""
        self._sweep()
        found, length = None, 0
        for stored in self._stored.get(scope, ()):
            if (same := _same(stored.tokens, tokens)) > length:
                found, length = stored, same
        return found, length

    def touch(self, stored: Stored) -> None:
        """`stored` was of use."""
        self._clock += 1
        stored.used = self._clock

    def rest(self) -> None:
        """Nobody waits: what was read for somebody is not needed any more."""
        if self._cellar is not None:
            self._cellar.rest()

    def fetch(self, stored: Stored) -> bool:
        """Whether `take` need not wait for the disk. If it must, `stored` is being read soon."""
        return stored.jar is None or self._cellar is None or self._cellar.fetch(stored.jar)

    def take(self, stored: Stored) -> Saved | None:
        """The data of `stored`, which was of use; None where it is lost, or was given up meanwhile."""
        self.touch(stored)
        if stored.jar is None or self._cellar is None:
            return stored.data
        if (data := self._cellar.take(stored.jar)) is None:
            self.remove(stored)
        return data

    def remove(self, stored: Stored) -> None:
        """Give up `stored`, which lies in the memory again, unless that happened already for want of room."""
        if stored in self._stored.get(stored.scope, ()):
            self._remove(stored)

    def forget(self, tenant: str) -> None:
        """Give up everything of `tenant`."""
        for floor in (self._above, self._below):
            for stored in list(floor.stored.get(tenant, ())):
                self._remove(stored)
        if self._cellar is not None:
            self._cellar.forget(tenant)

    def close(self) -> None:
        """Leave nothing on the disk. It is of no use afterwards."""
        if self._cellar is not None:
            self._cellar.close()

    def _beginnings(self, stored: Stored) -> list[Stored]:
        """What `stored` takes the place of."""
        there = self._stored.get(stored.scope, ())
        return [other for other in there if other.tokens == stored.tokens[: len(other.tokens)]]

    def _sweep(self) -> None:
        """Give up what the cellar could not write."""
        if self._cellar is not None and self._cellar.failures != self._swept:
            self._swept = self._cellar.failures
            lost = [one for several in self._below.stored.values() for one in several if one.jar and one.jar.gone]
            for stored in lost:
                self._remove(stored)

    def _carry_down(self, stored: Stored) -> None:
        """Into the cellar, or away where it takes nothing."""
        if not self._bottle(stored):
            self._remove(stored)
            return
        self._above.remove(stored)
        self._below.add(stored)

    def _bottle(self, stored: Stored) -> bool:
        """Give the data of `stored` to the cellar; false where that takes nothing."""
        assert stored.data is not None
        if self._cellar is None or stored.size > self._below.limit:
            return False
        jar = self._cellar.put(stored.scope.tenant, stored.data)
        if jar is not None:
            stored.data, stored.jar = None, jar
        return jar is not None

    def _remove(self, stored: Stored) -> None:
        self._stored[stored.scope].remove(stored)
        if not self._stored[stored.scope]:
            del self._stored[stored.scope]
        if stored.jar is None:
            self._above.remove(stored)
            return
        self._below.remove(stored)
        if self._cellar is not None:
            self._cellar.drop(stored.jar)


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
