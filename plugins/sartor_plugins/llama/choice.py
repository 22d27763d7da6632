"""Choosing a reply among given texts, with the model's own probabilities.

Two methods, one setting (``choice``):

``trie``
    Constrained decoding. Where the texts still allowed differ in their next token, take the child with the
    highest ``log p(token) + log w``, where w is the prior weight of all texts below it. Tokens without an
    alternative are not computed before the next fork. p is taken over the full vocabulary; at a fork the
    logits would do, for renormalising over the children shifts all of them by the same constant.
``score``, ``score-sum``
    Score every text to its end, and take the highest mean (or sum) of its tokens' log-probabilities plus log of
    its weight. The full vocabulary is what makes this right: renormalised over the children, forced tokens
    would cost nothing, and a text that is hard to believe after its first word would look good.

Two questions are decided by the probability of each side as a whole: text or tool call, where each text counts with
its weight and the call with `Choices.call`; and, without weights, end or another quote after a quote.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from sartor.values import Choices

from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.scoring import Floats, likelihoods, log_softmax, logs_of_sum
from sartor_plugins.llama.settings import ChoiceMethod
from sartor_plugins.llama.trie import Candidate, Node, build
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Chooser", "Chosen"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen: the numbers of the texts, or a tool call; and the tokens of the reply."""

    texts: tuple[int, ...]
    call: bool
    tokens: int
    opened: int = 0
    """Tokens of the call's opening that stand on the track already."""


class Chooser:
    """Chooses for one request, whose prompt stands on `track`."""

    def __init__(self, track: Track, vocabulary: Vocabulary, choices: Choices, method: ChoiceMethod) -> None:
        self._track = track
        self._vocabulary = vocabulary
        self._choices = choices
        self._method = method
        weights = choices.weights or (1.0,) * len(choices.texts)
        if len(weights) != len(choices.texts) or not all(0 < weight < math.inf for weight in weights):
            raise ValueError("Choices.weights must have a finite number above 0 for each text")
        self._weights = weights
        self._tokens = 0

    def choose(self, opening: Sequence[int] = (), lead: Sequence[int] = ()) -> Generator[str | Need, None, Chosen]:
        """Yields the reply as soon as it is certain, and returns what was chosen.

        `opening` are the tokens that begin a tool call; empty where none is allowed. When a call is chosen, no text is
        yielded. `lead`: those that must stand before a text, where there may be a call in its place; they are not said.
        """
        numbers = range(len(self._choices.texts))
        root = self._root(numbers, "")
        if opening and not root.below:
            return Chosen((), True, 0)
        if opening and lead:
            same = next(at for at, pair in enumerate(zip(opening, lead, strict=False)) if pair[0] != pair[1])
            self._push(lead[:same])
            row, weight = log_softmax((yield from self._track.logits())), max(self._weights)
            if math.exp(float(row[opening[same]])) * self._choices.call > math.exp(float(row[lead[same]])) * weight:
                return Chosen((), True, 0, same)
            self._push(lead[same:])
        elif opening and (yield from self._prefers_call(root, opening[0])):
            return Chosen((), True, 0)
        chosen: list[int] = []
        while root.below:
            found = yield from self._pick(root)
            chosen.append(found.number)
            root = self._next(chosen)
            if root.below and not (yield from self._continues(root)):
                break
        return Chosen(tuple(chosen), False, self._tokens)

    def _root(self, numbers: Iterable[int], glue: str) -> Node:
        texts = ((number, glue + self._choices.texts[number]) for number in numbers)
        return build(
            Candidate(number, text, tuple(self._vocabulary.text(text)), self._weights[number]) for number, text in texts
        )

    def _next(self, chosen: Sequence[int]) -> Node:
        """The tree of what may follow the quotes chosen so far; empty where the reply must end."""
        if len(chosen) >= self._choices.at_most or chosen[-1] >= self._choices.quotes:
            return Node()
        used = {self._choices.texts[number] for number in chosen}
        return self._root((n for n in range(self._choices.quotes) if self._choices.texts[n] not in used), " ")

    def _prefers_call(self, root: Node, opening: int) -> Generator[Need, None, bool]:
        """Whether a call is likelier than all texts together, each with the weight of the best that begins so."""
        row = log_softmax((yield from self._track.logits()))
        texts = sum(
            math.exp(float(row[token])) * max(candidate.weight for candidate in child.below)
            for token, child in root.children.items()
        )
        return math.exp(float(row[opening])) * self._choices.call > texts

    def _continues(self, root: Node) -> Generator[Need, None, bool]:
        row = log_softmax((yield from self._track.logits()))
        return _together(row, root.children) > _together(row, self._vocabulary.ends)

    def _pick(self, root: Node) -> Generator[str | Need, None, Candidate]:
        if self._method == "trie":
            found = yield from self._walk(root)
            return found
        found = yield from self._best(root)
        self._push(found.tokens)
        yield found.text
        return found

    def _best(self, root: Node) -> Generator[Need, None, Candidate]:
        if len(root.below) == 1:
            return root.below[0]
        scores = yield from likelihoods(self._track, root)

        def score(candidate: Candidate) -> float:
            told = scores[candidate.number]
            return sum(told) / (len(told) if self._method == "score" else 1) + math.log(candidate.weight)

        return max(root.below, key=score)

    def _walk(self, node: Node) -> Generator[str | Need, None, Candidate]:
        said = 0
        depth = 0
        while True:
            text = node.certain
            if len(text) > said:
                yield text[said:]
                said = len(text)
            if len(node.below) == 1:
                self._push(node.below[0].tokens[depth:])
                return node.below[0]
            token = yield from self._step(node)
            if token is None:
                assert node.complete is not None
                return node.complete
            self._push((token,))
            node = node.children[token]
            depth += 1

    def _step(self, node: Node) -> Generator[Need, None, int | None]:
        """The token that follows, None for the end of the text. Forced ones need no computation."""
        if len(node.children) == 1 and node.complete is None:
            return next(iter(node.children))
        row = log_softmax((yield from self._track.logits()))
        scores: dict[int | None, float] = {
            token: float(row[token]) + math.log(child.mass) for token, child in node.children.items()
        }
        if node.complete is not None:
            scores[None] = _together(row, self._vocabulary.ends) + math.log(node.complete.weight)
        return max(scores, key=lambda token: scores[token])

    def _push(self, tokens: Sequence[int]) -> None:
        self._track.push(tokens)
        self._tokens += len(tokens)


def _together(row: Floats, tokens: Iterable[int]) -> float:
    """The log of the probability that one of `tokens` follows."""
    return logs_of_sum([float(row[token]) for token in tokens])
