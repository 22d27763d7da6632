"""What lies in the memory: a tree of tokens for each scope, and which sequences hold which of its stretches.

A scope is who may profit from what was computed: a tenant, with an adapter. Trees of different scopes share nothing,
so nobody can learn from the time an answer takes, or from its counters, what another tenant has asked. It only keeps
account: the engine moves the memory.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence, Set
from dataclasses import dataclass, field

__all__ = ["STUB", "Kept", "Prefixes", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Who may profit from what was computed."""

    tenant: str
    adapter: str = ""
    alone: Hashable = None
    """Something that only one request has, where nobody else may profit."""


STUB = 64
"""Tokens below which the end of a sequence is not worth a place of its own."""


@dataclass(slots=True, eq=False)
class Kept:
    """A sequence in the memory."""

    number: int
    scope: Scope
    tokens: Sequence[int]
    used: int
    """When it was last used: a counter, not a clock."""
    running: bool
    since: float = field(default_factory=time.monotonic)
    """When it was last used, by the clock."""


@dataclass(slots=True, eq=False)
class _Node:
    """A stretch of tokens that one or several sequences have in the same place."""

    tokens: list[int]
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)


class Prefixes:
    """The sequences in a memory, of which each tenant has an equal share.

    What a tenant keeps within its share is not given up for others, but for a request that would not fit otherwise
    though nothing else of its tenant runs.
    """

    def __init__(self, places: int, *, rooms: bool = False) -> None:
        """`places`: tokens in the memory; with `rooms`, sequences, each of which takes one however long it is."""
        self._places = places
        self._rooms = rooms
        self._roots: dict[Scope, _Node] = {}
        self._kept: dict[int, Kept] = {}
        self._ends: dict[int, _Node] = {}
        self._sizes: dict[str, int] = {}
        self._clock = 0

    @property
    def taken(self) -> int:
        """Tokens that the sequences have, where what they share counts once; or how many rooms."""
        return sum(self._sizes.values())

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def kept(self, number: int) -> Kept:
        """Sequence `number`."""
        return self._kept[number]

    def longest(self, scope: Scope, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """The sequences of `scope` that begin like `tokens`, each with for how many tokens; the longest first."""
        found: dict[int, int] = {}
        node, at = self._roots.get(scope), 0
        while node is not None and at < len(tokens) and (node := node.children.get(tokens[at])) is not None:
            same = _same(node.tokens, tokens, at)
            at += same
            found |= dict.fromkeys(node.holders, at)
            if same < len(node.tokens):
                break
        return sorted(found.items(), key=lambda one: (-one[1], one[0]))

    def shared(self, scope: Scope, tokens: Sequence[int]) -> int:
        """How many tokens at the start of `tokens` some sequence of `scope` has."""
        found = self.longest(scope, tokens)
        return found[0][1] if found else 0

    def hold(self, number: int, scope: Scope, tokens: Sequence[int], *, running: bool) -> None:
        """Take account of sequence `number`, in place of what it was before."""
        self.drop(number)
        self._clock += 1
        self._kept[number] = Kept(number, scope, tokens, self._clock, running)
        self._grow(scope, 1 if self._rooms else 0)
        node = self._roots.setdefault(scope, _Node([], None))
        at = 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = _Node(list(tokens[at:]), node)
                node.children[tokens[at]] = child
                self._grow(scope, 0 if self._rooms else len(child.tokens))
            else:
                same = _same(child.tokens, tokens, at)
                if same < len(child.tokens):
                    child = _split(child, same)
            child.holders.add(number)
            at += len(child.tokens)
            node = child
        self._ends[number] = node

    def touch(self, number: int) -> None:
        """Sequence `number` was of use again."""
        self._clock += 1
        self._kept[number].used = self._clock
        self._kept[number].since = time.monotonic()

    def drop(self, number: int) -> None:
        """Forget sequence `number`, if it is known."""
        kept = self._kept.pop(number, None)
        if kept is None:
            return
        self._grow(kept.scope, -1 if self._rooms else 0)
        node: _Node | None = self._ends.pop(number)
        while node is not None and node.parent is not None:
            node.holders.discard(number)
            parent = node.parent
            if not node.holders:
                del parent.children[node.tokens[0]]
                self._grow(kept.scope, 0 if self._rooms else -len(node.tokens))
            node = parent
        root = self._roots.get(kept.scope)
        if root is not None and not root.children:
            del self._roots[kept.scope]

    def covered(self, number: int) -> list[int]:
        """Sequences that do not run and hold nothing but a beginning of what `number` holds."""
        kept = self._kept[number]
        found = self.longest(kept.scope, kept.tokens)
        return [
            other
            for other, length in found
            if other != number and not self._kept[other].running and len(self._kept[other].tokens) == length
        ]

    def victim(self, tenant: str, need: int, *, keep: int | None = None, among: Set[int] | None = None) -> Kept | None:
        """The sequence to give up so that `tenant` may have `need` more places; None where there is none.

        It is the longest unused one of the tenants that are above their share, the need counted in. `keep` is not
        given up. `among`: only these are of use, and none of another tenant that is within its share.
        """
        idle = self._idle(keep, among)
        if not idle:
            return None
        sizes = {**self._sizes, tenant: self._sizes.get(tenant, 0) + need}
        share = self._places / len(sizes)
        above = [one for one in idle if sizes.get(one, 0) > share]
        if above:
            return _oldest([kept for one in above for kept in idle[one]])
        if among is not None or any(kept.running and kept.scope.tenant == tenant for kept in self._kept.values()):
            return _oldest(idle[tenant]) if tenant in idle else None
        return _oldest(idle.get(tenant) or [kept for several in idle.values() for kept in several])

    def crowded(self, *, keep: int) -> Kept | None:
        """The sequence to give up where sequences, not tokens, are short: of the tenant that keeps most of them."""
        idle = self._idle(keep, None)
        return _oldest(max(idle.values(), key=len)) if idle else None

    def oldest_of(self, numbers: Set[int]) -> Kept | None:
        """Of the sequences `numbers`, the one that does not run and was used longest ago."""
        return _oldest([kept for several in self._idle(None, numbers).values() for kept in several])

    def oldest(self) -> Kept | None:
        """Of the sequences that `idle` counts, the one that was used longest ago."""
        return min(self._alone(), key=lambda kept: kept.used, default=None)

    @property
    def idle(self) -> int:
        """Tokens that only sequences which do not run have; some of them may be counted several times."""
        return sum(self._alone().values())

    def own(self, kept: Kept) -> int:
        """How many tokens at the end of `kept` no other sequence has."""
        found = self.longest(kept.scope, kept.tokens)
        return len(kept.tokens) - max((length for other, length in found if other != kept.number), default=0)

    def _alone(self) -> dict[Kept, int]:
        """The sequences that do not run, with how many tokens each has that none which runs has: but for little ends,
        such as a reply that came back as other tokens in the next prompt. They go with the sequence that they branch
        off from: holes in the memory make large batches slow."""
        found = {
            kept: len(kept.tokens) - self._shared_with_running(kept) for kept in self._kept.values() if not kept.running
        }
        return {kept: own for kept, own in found.items() if own >= STUB or own == len(kept.tokens)}

    def _shared_with_running(self, kept: Kept) -> int:
        node, length = self._ends[kept.number], len(kept.tokens)
        while node.parent is not None and not any(self._kept[holder].running for holder in node.holders):
            length -= len(node.tokens)
            node = node.parent
        return length

    def of(self, tenant: str) -> Iterator[Kept]:
        """The sequences of a tenant."""
        return iter([kept for kept in self._kept.values() if kept.scope.tenant == tenant])

    def _idle(self, keep: int | None, among: Set[int] | None) -> dict[str, list[Kept]]:
        """The sequences that may be given up, by tenant."""
        idle: dict[str, list[Kept]] = {}
        for kept in self._kept.values():
            if not kept.running and kept.number != keep and (among is None or kept.number in among):
                idle.setdefault(kept.scope.tenant, []).append(kept)
        return idle

    def _grow(self, scope: Scope, count: int) -> None:
        size = self._sizes.get(scope.tenant, 0) + count
        if size:
            self._sizes[scope.tenant] = size
        else:
            self._sizes.pop(scope.tenant, None)


def _oldest(kept: Sequence[Kept]) -> Kept | None:
    return min(kept, key=lambda one: one.used, default=None)


def _same(node: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """How many tokens of `node` stand in `tokens` from `start` on."""
    most = min(len(node), len(tokens) - start)
    if node[:most] == tokens[start : start + most]:
        return most
    return next(at for at in range(most) if node[at] != tokens[start + at])


def _split(node: _Node, length: int) -> _Node:
    """Cut `node` behind `length` tokens; the upper part."""
    parent = node.parent
    assert parent is not None
    upper = _Node(node.tokens[:length], parent, holders=set(node.holders))
    parent.children[upper.tokens[0]] = upper
    node.tokens = node.tokens[length:]
    node.parent = upper
    upper.children[node.tokens[0]] = node
    return upper
