"""How well quotation chooses: the model alone, shared words alone, and both as the product weighs them.

    python benchmarks/quotation.py [--model builtin] [--prior 0 1 6] [--doubt 0 0.3]

Hand-written documents of seven businesses (`training/eval/`); of each, the three that share most with the question
stand in the prompt. For each pair of `grounding.prior` and `grounding.doubt`: how many answerable questions got the
right sentence, a wrong one, and "I do not know"; how many unanswerable ones were found; how many greetings were
answered with the greeting.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from sartor.grounding import quotable
from sartor.langchain import say
from sartor.prompt import Persona, compose
from sartor.values import Origin, Part, Passage, Turn
from sartor.words import overlap
from sartor_plugins.llama.model import LlamaChatModel
from sartor_plugins.llama.settings import LlamaSettings

EVAL = Path(__file__).parents[1] / "training" / "eval"


@dataclass(frozen=True)
class Case:
    """A question with what the prompt needs; `answer` None: the documents do not tell; `greets`: it is a greeting."""

    persona: Persona
    passages: tuple[Passage, ...]
    ask: str
    answer: str | None
    greets: bool


def cases() -> Iterator[Case]:
    """Every question and greeting of the hand-written files."""
    for file in sorted(EVAL.glob("*.yaml")):
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
        persona = Persona((Part(told["instructions"], Origin.TENANT),), told["greeting"], told["unknown"], 1)
        documents = told["documents"]
        asked = [(question["ask"], question.get("answer"), False) for question in told["questions"]]
        for ask, answer, greets in [*asked, *((greeting, None, True) for greeting in told["greetings"])]:
            shares = overlap(ask, [f"{document['title']} {document['text']}" for document in documents])
            best = sorted(range(len(documents)), key=lambda at: -shares[at])[:3]
            passages = tuple(
                Passage(str(at), "t", f"{at}.md", documents[at]["title"], documents[at]["text"].strip()) for at in best
            )
            yield Case(persona, passages, ask, answer.strip() if answer else None, greets)


def by_words(case: Case) -> str:
    """The sentence that shares most with the question, without any model."""
    found = quotable(case.ask, case.passages, [case.persona.unknown], candidates=1, at_most=1, prior=1.0)
    return found.choices.texts[0]


async def by_model(model: LlamaChatModel, case: Case, prior: float, doubt: float) -> str:
    """What the product's quotation chooses."""
    own = [case.persona.greeting, case.persona.unknown]
    found = quotable(case.ask, case.passages, own, candidates=24, at_most=1, prior=prior, doubt=doubt)
    turn = Turn("t", "c", "t", "b", "u", case.ask)
    prompt = compose(case.persona, turn, [], case.passages)
    asked = {"max_tokens": 200}
    pieces = [s.text async for s in say(model, prompt, choices=found.choices, asked=asked, tenant="t")]
    return "".join(pieces)


def count(counts: Counter[str], case: Case, said: str) -> None:
    """Add one outcome to `counts`."""
    unknown = said.strip() == case.persona.unknown.strip()
    if case.greets:
        counts["greetings"] += 1
        counts["greeted"] += said.strip() == case.persona.greeting.strip()
    elif case.answer is None:
        counts["unanswerable"] += 1
        counts["found"] += unknown
    else:
        counts["answerable"] += 1
        counts["right"] += said.rpartition(" [")[0].strip() == case.answer
        counts["unknown"] += unknown


def show(name: str, counts: Counter[str]) -> None:
    """One line of the table."""
    wrong = counts["answerable"] - counts["right"] - counts["unknown"]
    told = f"{counts['right']:>7}{wrong:>7}{counts['unknown']:>9} of {counts['answerable']}"
    rest = f"{counts['found']:>9} of {counts['unanswerable']}{counts['greeted']:>9} of {counts['greetings']}"
    print(f"{name:<26}{told}{rest}")


async def run(path: str, priors: list[float], doubts: list[float]) -> None:
    """Print the table."""
    model = LlamaChatModel(LlamaSettings(path=path), Path())
    print(f"{'':<26}{'right':>7}{'wrong':>7}{'unknown':>9}{'':7}{'unanswerable found':>17}{'greeted':>12}")
    everything = list(cases())
    words: Counter[str] = Counter()
    for case in everything:
        count(words, case, by_words(case))
    show("shared words alone", words)
    for prior in priors:
        for doubt in doubts if prior else [0.0]:
            counts: Counter[str] = Counter()
            for case in everything:
                count(counts, case, await by_model(model, case, prior, doubt))
            show(f"prior {prior:g}, doubt {doubt:g}", counts)
    await model.close()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--prior", type=float, nargs="+", default=[0.0, 1.0, 6.0])
    parser.add_argument("--doubt", type=float, nargs="+", default=[0.0, 0.3])
    options = parser.parse_args()
    asyncio.run(run(options.model, options.prior, options.doubt))


if __name__ == "__main__":
    main()
