"""The log-likelihood of many continuations of one prompt, computed side by side."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt

from sartor_plugins.llama.engine.track import Fork, Need, Place, Track
from sartor_plugins.llama.native import Row
from sartor_plugins.llama.trie import Candidate, Node

__all__ = ["BRANCHES", "Floats", "likelihoods", "log_softmax", "logs_of_sum"]

BRANCHES = 32
"""Candidates that are computed side by side."""

Floats = npt.NDArray[np.float64]


def log_softmax(row: Row) -> Floats:
    """Log-probabilities over the whole vocabulary."""
    wide = row.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))


def logs_of_sum(logs: Sequence[float]) -> float:
    """The log of a sum of probabilities whose logs are given; minus infinity for none."""
    top = max(logs, default=-math.inf)
    return top if math.isinf(top) else top + math.log(sum(math.exp(one - top) for one in logs))


def likelihoods(track: Track, root: Node) -> Generator[Need, None, dict[int, list[float]]]:
    """The log-probability of each token of each candidate below `root`, by the candidate's number.

    The candidates are computed side by side, in as few batches as fit. Where all conversations share one memory, the
    prompt is shared too, and each place of the tree is computed once; where each has a room of its own, it is copied.
    The last token of a candidate is never computed, since nothing follows it.
    """
    first = _children(root, (yield from track.logits()))
    found: dict[int, list[float]] = {}
    for at in range(0, len(root.below), BRANCHES):
        group = root.below[at : at + BRANCHES]
        rows = yield from _compute(root, group)
        for candidate in group:
            row = first
            found[candidate.number] = scores = []
            for token, node in root.tokens(candidate):
                scores.append(row[token])
                row = rows.get(id(node), row)
    return found


def _compute(root: Node, group: Sequence[Candidate]) -> Generator[Need, None, dict[int, dict[int, float]]]:
    """For each place of the tree (by `id`), the log-probabilities of its children, where it has some."""
    places: list[tuple[int, int, list[int], Node]] = []
    known: dict[int, list[int]] = {}
    for branch, candidate in enumerate(sorted(group, key=lambda one: one.tokens)):
        for depth, (token, node) in enumerate(root.tokens(candidate)):
            if not node.children:
                break
            if id(node) in known:
                known[id(node)].append(branch)
            else:
                known[id(node)] = [branch]
                places.append((token, depth, known[id(node)], node))
    rows: dict[int, dict[int, float]] = {}

    def read(number: int, row: Row) -> None:
        node = places[number][3]
        rows[id(node)] = _children(node, row)

    if places:
        told = [Place(token, depth, tuple(branches)) for token, depth, branches, _ in places]
        yield Fork(len(group), told, read)
    return rows


def _children(node: Node, row: Row) -> dict[int, float]:
    told = log_softmax(row)
    return {token: float(told[token]) for token in node.children}
