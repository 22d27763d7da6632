"""Texts as a tree of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Candidate", "Node", "build"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that a reply may have: its number among the choices, its tokens and its prior weight."""

    number: int
    text: str
    tokens: tuple[int, ...]
    weight: float


@dataclass(slots=True)
class Node:
    """A place in the tree: the candidates that lead through it, and the tokens that may follow."""

    below: list[Candidate] = field(default_factory=list)
    children: dict[int, Node] = field(default_factory=dict)
    complete: Candidate | None = None
    """The candidate that ends here."""

    @property
    def mass(self) -> float:
        """The prior weight of all candidates below."""
        return sum(candidate.weight for candidate in self.below)

    @property
    def certain(self) -> str:
        """The text that all candidates below begin with."""
        first = min(candidate.text for candidate in self.below)
        last = max(candidate.text for candidate in self.below)
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return "".join(letter for letter, _ in same)

    def tokens(self, candidate: Candidate) -> Iterator[tuple[int, Node]]:
        """The path to `candidate`."""
        node = self
        for token in candidate.tokens:
            node = node.children[token]
            yield token, node


def build(candidates: Iterable[Candidate]) -> Node:
    """The tree of `candidates`. Of several with the same tokens the first counts, with the weight of all."""
    root = Node()
    weights: dict[Sequence[int], float] = {}
    first: dict[Sequence[int], Candidate] = {}
    for candidate in candidates:
        if candidate.tokens:
            first.setdefault(candidate.tokens, candidate)
            weights[candidate.tokens] = weights.get(candidate.tokens, 0.0) + candidate.weight
    for tokens, told in first.items():
        candidate = Candidate(told.number, told.text, told.tokens, weights[tokens])
        root.below.append(candidate)
        node = root
        for token in tokens:
            node = node.children.setdefault(token, Node())
            node.below.append(candidate)
        node.complete = candidate
    return root
