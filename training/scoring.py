"""Which sentence a model in training would quote, on real questions: one pass a question."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from training.corpus import split_sentences
from training.examples import Passage, ask_over
from training.model import Mini
from training.questions import content_stems
from training.tokenizer import Coder

__all__ = ["RealCase", "choose", "load_cases", "real_accuracy"]

SYSTEM = (
    "You are the assistant of {name}. Be brief and friendly.\n\nIf the user greets you, answer: Hello! How can I help you?\n"
    "Answer with one sentence of the passages, word for word, and its number in brackets. "
    "If the passages do not answer the question, say: {unknown}"
)
UNKNOWN = {"en": "I could not find that in our documents.", "fr": "Je n'ai pas trouvé cela dans nos documents."}


@dataclass
class RealCase:
    question: str
    passages: list[Passage]
    right: set[str]
    lang: str


def load_cases(folder: Path, count: int = 100, most: int = 4) -> dict[str, list[RealCase]]:
    """Questions with their passage and the nearest others; right are the sentences with the answer."""
    cases: dict[str, list[RealCase]] = {}
    for name, lang in (("squad2", "en"), ("piaf-fr", "fr")):
        if not (folder / name).exists():
            continue
        rng = random.Random(7)
        corpus = {}
        for line in (folder / name / "corpus.jsonl").open(encoding="utf-8"):
            d = json.loads(line)
            corpus[d["id"]] = Passage(d["title"], [s for s in split_sentences(re.sub(r"\s+", " ", d["text"]))])
        stems = {i: set(content_stems(" ".join(p.units))) for i, p in corpus.items()}
        queries = [json.loads(line) for line in (folder / name / "queries.jsonl").open(encoding="utf-8")]
        rng.shuffle(queries)
        found: list[RealCase] = []
        for q in queries:
            if not q.get("answerable", True) or not q.get("answers") or len(found) == count:
                continue
            home = corpus[q["relevant"][0]]
            right = {u for u in home.units for a in q["answers"] if a in u}
            if not right or len(right) > 2 or sum(len(u) for u in home.units) > 700:
                continue
            asked = set(content_stems(q["text"]))
            sample = rng.sample(sorted(corpus), min(300, len(corpus)))
            near = sorted((i for i in sample if i != q["relevant"][0]), key=lambda i: -len(asked & stems[i]))
            others = [corpus[i] for i in near if sum(len(u) for u in corpus[i].units) < 500][: most - 1]
            passages = [home, *others][:most]
            while sum(len(u) for p in passages for u in p.units) > 1600 and len(passages) > 1:
                passages.pop()
            rng.shuffle(passages)
            found.append(RealCase(q["text"], passages, right, lang))
        cases[name] = found
    return cases


@torch.inference_mode()
def choose(model: Mini, coder: Coder, case: RealCase, first: int = 10) -> list[tuple[str, float]]:
    """Log-likelihood of the first tokens of every sentence (and of not knowing), in one pass."""
    unknown = UNKNOWN[case.lang]
    content, spans = ask_over(case.question, case.passages)
    messages = [
        {"role": "system", "content": SYSTEM.format(name="Brightwater", unknown=unknown)},
        {"role": "user", "content": content},
    ]
    prompt, _, _ = coder.prompt(messages, [])
    units = [*list(dict.fromkeys([content[a:b] for a, b in spans])), unknown]
    tokens, places, group = list(prompt), list(range(len(prompt))), [-1] * len(prompt)
    heads = [coder.plain(u)[:first] for u in units]
    for i, head in enumerate(heads):
        tokens += head
        places += range(len(prompt), len(prompt) + len(head))
        group += [i] * len(head)
    g = torch.tensor(group)
    sees = (g[None, :] == -1) | (g[None, :] == g[:, None])
    mask = torch.where(sees & (torch.arange(len(g))[None, :] <= torch.arange(len(g))[:, None]), 0.0, float("-inf"))
    hidden, _ = model(torch.tensor([tokens]), places=torch.tensor(places), mask=mask)
    start = len(prompt)
    scores, at = [], start
    last = torch.log_softmax(model.logits(hidden[0, start - 1 :]).float(), -1)
    for unit, head in zip(units, heads, strict=True):
        rows = [0] + [at - start + 1 + j for j in range(len(head) - 1)]
        scores.append((unit, float(last[rows, head].sum())))
        at += len(head)
    return scores


def real_accuracy(model: Mini, coder: Coder, cases: dict[str, list[RealCase]]) -> dict[str, float]:
    """Right sentence among all (without and with the choice of not knowing), and by word overlap."""
    out: dict[str, float] = {}
    for name, found in cases.items():
        right = strict = overlap = size = 0
        for case in found:
            scores = choose(model, coder, case)
            right += max(scores[:-1], key=lambda s: s[1])[0] in case.right
            strict += max(scores, key=lambda s: s[1])[0] in case.right
            asked = set(content_stems(case.question))
            best = max(
                (u for p in case.passages for u in p.units),
                key=lambda u: len(asked & set(content_stems(u))) - 0.001 * len(u),
            )
            overlap += best in case.right
            size += len(scores) - 1
        n = len(found)
        out |= {
            name: right / n,
            f"{name}-strict": strict / n,
            f"{name}-overlap": overlap / n,
            f"{name}-units": size / n,
        }
    return out
