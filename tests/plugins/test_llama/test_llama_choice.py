"""Choosing among given texts: the same as a plain computation says, and never anything else."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from langchain_core.messages import HumanMessage
from sartor.values import Choices
from sartor_plugins.llama.choice import Chooser, Chosen
from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.scoring import likelihoods, log_softmax
from sartor_plugins.llama.settings import ChoiceMethod
from sartor_plugins.llama.trie import Candidate, build

if TYPE_CHECKING:
    from conftest import Desk

TEXTS = (
    "The shop is open on Monday. [1]",
    "The shop is closed. [1]",
    "The shipping is free. [2]",
    "There is one. [2]",
    "No",
    "None of it is known.",
    "No",
)
PROMPT = "<|user|>\nWhen?<|end|>\n<|assistant|>\n"


def plain_scores(desk: Desk, text: str) -> list[float]:
    """One token after the other, nothing shared."""

    def speak(track: Track) -> Generator[Need, None, list[float]]:
        out = []
        for token in desk.vocabulary.text(text):
            out.append(float(log_softmax((yield from track.logits()))[token]))
            track.push([token])
        return out

    _, scores, _ = desk.run(PROMPT, speak)
    return cast("list[float]", scores)


def choose(desk: Desk, choices: Choices, method: ChoiceMethod, prompt: str = PROMPT) -> tuple[str, Chosen, Track]:
    said, chosen, track = desk.run(prompt, lambda track: Chooser(track, desk.vocabulary, choices, method).choose())
    assert isinstance(chosen, Chosen)
    return "".join(map(str, said)), chosen, track


def test_scores_side_by_side_are_those_one_by_one(desk: Desk) -> None:
    many = [*dict.fromkeys(TEXTS), *(f"Answer {number}. [{number}]" for number in range(40))]
    expected = {number: plain_scores(desk, text) for number, text in enumerate(many)}
    root = build(Candidate(n, text, tuple(desk.vocabulary.text(text)), 1.0) for n, text in enumerate(many))

    def speak(track: Track) -> Generator[Need, None, tuple[dict[int, list[float]], float]]:
        before = track.length
        found = yield from likelihoods(track, root)
        assert track.length == before
        return found, float(log_softmax((yield from track.logits()))[0])

    _, result, _ = desk.run(PROMPT, speak)
    found, after = cast("tuple[dict[int, list[float]], float]", result)
    assert found.keys() == expected.keys()
    for number, scores in expected.items():
        assert found[number] == pytest.approx(scores, abs=2e-2), many[number]
    assert after == pytest.approx(first_score(desk), abs=2e-2)


def first_score(desk: Desk) -> float:
    def speak(track: Track) -> Generator[Need, None, float]:
        return float(log_softmax((yield from track.logits()))[0])

    return cast("float", desk.run(PROMPT, speak)[1])


@pytest.mark.parametrize("method", ["score", "score-sum"])
def test_the_best_scored_text_is_chosen(desk: Desk, method: ChoiceMethod) -> None:
    def score(text: str) -> float:
        told = plain_scores(desk, text)
        return sum(told) / (len(told) if method == "score" else 1)

    best = max(TEXTS, key=lambda text: score(text) + (math.log(2) if text == "No" else 0))
    assert choose(desk, Choices(TEXTS), method)[0] == best


def test_the_trie_takes_the_best_child_at_each_fork(desk: Desk) -> None:
    vocabulary = desk.vocabulary
    weights = (0.5, 2.0, 1.0, 1.0, 0.2, 3.0, 0.2)

    def speak(track: Track) -> Generator[Need, None, list[int]]:
        left = [(vocabulary.text(text), weight) for text, weight in zip(TEXTS, weights, strict=True)]
        said: list[int] = []
        while left:
            row = log_softmax((yield from track.logits()))
            mass: dict[int | None, float] = {}
            for tokens, weight in left:
                key = tokens[len(said)] if len(tokens) > len(said) else None
                mass[key] = mass.get(key, 0) + weight
            ends = math.log(sum(math.exp(row[end]) for end in vocabulary.ends))
            best = max(mass, key=lambda key: (row[key] if key is not None else ends) + math.log(mass[key]))
            if best is None:
                break
            track.push([best])
            left = [(tokens, weight) for tokens, weight in left if tokens[len(said) : len(said) + 1] == [best]]
            said.append(best)
        return said

    _, said, _ = desk.run(PROMPT, speak)
    expected = b"".join(map(vocabulary.bytes, cast("list[int]", said))).decode()
    assert choose(desk, Choices(TEXTS, weights), "trie")[0] == expected


@pytest.mark.parametrize("method", ["trie", "score", "score-sum"])
@pytest.mark.parametrize("at_most", [1, 2, 3, 9])
def test_the_reply_is_made_of_the_texts(desk: Desk, method: ChoiceMethod, at_most: int) -> None:
    for number in range(8):
        choices = Choices(TEXTS, quotes=4, at_most=at_most)
        text, chosen, _ = choose(desk, choices, method, f"{PROMPT}{number * 17}")
        assert text == " ".join(TEXTS[number] for number in chosen.texts)
        assert 1 <= len(chosen.texts) <= at_most
        assert len(chosen.texts) == len(set(chosen.texts))
        assert len(chosen.texts) == 1 or all(number < 4 for number in chosen.texts)


@pytest.mark.parametrize("method", ["trie", "score", "score-sum"])
def test_a_heavy_weight_wins(desk: Desk, method: ChoiceMethod) -> None:
    for number, text in enumerate(TEXTS[:6]):
        weights = tuple(1e300 if at == number else 1e-300 for at in range(6))
        assert choose(desk, Choices(TEXTS[:6], weights), method)[0] == text


def test_a_single_text_needs_no_computation(desk: Desk) -> None:
    text, _, track = choose(desk, Choices(("Only this.",)), "trie")
    assert text == "Only this."
    assert track.past == []


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, math.inf), (1.0, math.nan)])
def test_wrong_weights_are_refused(desk: Desk, weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Chooser(Track([1], 10), desk.vocabulary, Choices(("a", "b"), weights), "trie")


@pytest.mark.parametrize("method", ["trie", "score", "score-sum"])
async def test_through_the_model(random_model: Path, make, method: str) -> None:  # type: ignore[no-untyped-def]
    model = make(random_model, choice=method)
    choices = Choices(TEXTS[:4], quotes=4, at_most=2)
    pieces = [chunk async for chunk in model.astream([HumanMessage("When?")], choices=choices, max_tokens=5)]
    text = "".join(piece.text for piece in pieces)
    assert text in {*TEXTS[:4], *(f"{a} {b}" for a in TEXTS[:4] for b in TEXTS[:4] if a != b)}
    assert (await model.ainvoke([HumanMessage("When?")], choices=choices)).text == text
