"""The log-likelihood of many continuations of one prompt, computed side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sartor_plugins.llama.native import Row, lib
from sartor_plugins.llama.session import Session
from sartor_plugins.llama.trie import Candidate, Node

__all__ = ["Floats", "likelihoods", "log_softmax"]

Floats = npt.NDArray[np.float64]


def log_softmax(row: Row) -> Floats:
    """Log-probabilities over the whole vocabulary."""
    wide = row.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))


def likelihoods(session: Session, root: Node) -> dict[int, list[float]]:
    """The log-probability of each token of each candidate below `root`, by the candidate's number.

    Each place of the tree is computed once, in as few calls as fit: the prompt is copied to one sequence for each
    candidate, which costs nothing, and a token that several candidates share belongs to all their sequences.
    The last token of a candidate is never computed, since nothing follows it.
    """
    first = _children(root, session.logits())
    found: dict[int, list[float]] = {}
    waiting = list(root.below)
    while waiting:
        group, waiting = _group(session, waiting)
        rows = _compute(session, root, group)
        for candidate in group:
            row = first
            found[candidate.number] = scores = []
            for token, node in root.tokens(candidate):
                scores.append(row[token])
                row = rows.get(id(node), row)
    return found


def _group(session: Session, waiting: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """As many candidates as have a sequence and room, at least one, and the rest."""
    room = session.room
    count = 0
    for candidate in waiting[: session.branches]:
        room -= len(candidate.tokens)
        if room < 0 and count:
            break
        count += 1
    return list(waiting[:count]), list(waiting[count:])


def _compute(session: Session, root: Node, group: Sequence[Candidate]) -> dict[int, dict[int, float]]:
    """For each place of the tree (by `id`), the log-probabilities of its children, where it has some."""
    places: list[tuple[int, int, list[int], Node]] = []
    known: dict[int, list[int]] = {}
    for sequence, candidate in enumerate(sorted(group, key=lambda one: one.tokens), start=1):
        lib.llama_memory_seq_cp(session.memory, 0, sequence, -1, -1)
        for depth, (token, node) in enumerate(root.tokens(candidate)):
            if not node.children:
                break
            if id(node) in known:
                known[id(node)].append(sequence)
            else:
                known[id(node)] = [sequence]
                places.append((token, session.length + depth, known[id(node)], node))
    rows: dict[int, dict[int, float]] = {}
    for at in range(0, len(places), session.batch_size):
        part = places[at : at + session.batch_size]
        session.decode([(token, place, sequences) for token, place, sequences, _ in part])
        for number, (*_, node) in enumerate(part):
            rows[id(node)] = _children(node, session.row(number))
    for sequence in range(1, len(group) + 1):
        lib.llama_memory_seq_rm(session.memory, sequence, -1, -1)
    return rows


def _children(node: Node, row: Row) -> dict[int, float]:
    told = log_softmax(row)
    return {token: float(told[token]) for token in node.children}
