"""Measure an exported model on the hand-written cases in training/eval, through llama.cpp.

    python -m training.evaluate --model PATH.gguf [--cases training/eval] [--json FIGURES.json]

It prints a table and writes the same figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from training.evaluate_model import Judge
from training.words import STOP, WORD, stem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["evaluate", "main", "units_of"]

RULE = "Answer with one sentence of the passages, word for word, and its number in brackets. If the passages do not answer the question, say: "
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of the lexical score beside the model's


def units_of(text: str) -> list[str]:
    """The quotable units of a passage: sentences, list items and table rows, word for word."""
    found: list[str] = []
    for row in text.splitlines():
        line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", row).strip()
        if line.startswith("|"):
            if not set(line) <= set("|-: "):
                found.append(line)
        elif line:
            found += [s.strip() for s in re.split(r"(?<=[.!?…])\s+(?=[«\"(]?\s?[A-ZÀ-Ý0-9])", line)]
    return [u for u in found if u]


def plain(text: str) -> str:
    return " ".join(WORD.findall(text.lower()))


def stems(text: str) -> list[str]:
    return [stem(w) for w in WORD.findall(text) if w.lower() not in STOP]


class Lexical:
    """BM25 over units, the plain baseline."""

    def __init__(self, units: Iterable[str]) -> None:
        self.bags = [stems(u) for u in units]
        self.mean = sum(map(len, self.bags)) / max(1, len(self.bags))
        self.often: dict[str, int] = defaultdict(int)
        for bag in self.bags:
            for s in set(bag):
                self.often[s] += 1

    def score(self, question: str, text: str) -> float:
        bag, total = stems(text), 0.0
        for s in set(stems(question)):
            n = bag.count(s)
            if n:
                idf = math.log(1 + (len(self.bags) - self.often[s] + 0.5) / (self.often[s] + 0.5))
                total += idf * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * len(bag) / self.mean))
        return total


def passages_for(case: dict, question: dict, lexical: Lexical, most: int = 3) -> list[dict]:
    """The documents that a retriever would give: the nearest, and the one with the answer among them."""
    ranked = sorted(case["documents"], key=lambda d: -lexical.score(question["ask"], d["title"] + "\n" + d["text"]))[
        :most
    ]
    answer = question.get("answer")
    if answer and not any(plain(answer) in plain(d["text"]) for d in ranked):
        holder = next((d for d in case["documents"] if plain(answer) in plain(d["text"])), None)
        if holder is not None:
            ranked[-1] = holder
    return ranked


def prompt_of(question: str, passages: list[dict]) -> str:
    shown = "".join(f"[{i}] {p['title']}\n{p['text'].strip()}\n\n" for i, p in enumerate(passages, 1))
    return f"Question: {question}\n\nPassages:\n{shown}Question: {question}"


def system_of(case: dict) -> str:
    return f"{case['instructions'].strip()}\n\nIf the user greets you, answer: {case['greeting'].strip()}\n{RULE}{case['unknown'].strip()}"


def tools_of(case: dict) -> list[dict]:
    return [
        {
            "type": "function",
            "function": {
                "name": t["name"],
                "description": t["description"],
                "parameters": {"type": "object", "properties": {p: {"type": k} for p, k in t["parameters"].items()}},
            },
        }
        for t in case.get("tools", [])
    ]


class Tally:
    """Named counts of right and asked."""

    def __init__(self) -> None:
        self.right: dict[str, int] = defaultdict(int)
        self.asked: dict[str, int] = defaultdict(int)

    def note(self, name: str, right: bool) -> None:
        self.asked[name] += 1
        self.right[name] += bool(right)

    def figures(self) -> dict[str, dict[str, float]]:
        return {
            n: {"right": self.right[n], "of": self.asked[n], "share": round(self.right[n] / self.asked[n], 3)}
            for n in self.asked
        }


def judge_questions(case: dict, judge: Judge, tally: Tally, most: int) -> None:
    """Which sentence is quoted: by the model, by word overlap, and by both together."""
    lang = case["language"]
    lexical = Lexical(u for d in case["documents"] for u in units_of(d["text"]))
    for question in case["questions"]:
        passages = passages_for(case, question, lexical, most)
        units = list(dict.fromkeys(u for p in passages for u in units_of(p["text"])))
        messages = [
            {"role": "system", "content": system_of(case)},
            {"role": "user", "content": prompt_of(question["ask"], passages)},
        ]
        unknown = case["unknown"].strip()
        scored = judge.candidates(messages, [*units, unknown])
        words = {u: lexical.score(question["ask"], u) for u in units}
        answer = question.get("answer")
        for name, take in (("sum", lambda s: s.total), ("mean", lambda s: s.mean)):
            model = {u: take(s) for u, s in scored.items()}
            for weight in WEIGHTS:
                both = {u: model[u] + weight * words[u] for u in units}
                best = max(units, key=both.__getitem__)
                label = f"quote {lang} model-{name}" + (f" + {weight} x lexical" if weight else "")
                if answer:
                    tally.note(label, plain(best) == plain(answer) or plain(answer) in plain(best))
            says_unknown = max(scored, key=lambda u: model[u]) == unknown
            tally.note(
                f"unknown {lang} {name}: {'answerable kept' if answer else 'unanswerable found'}",
                says_unknown != bool(answer),
            )
        if answer:
            best = max(units, key=words.__getitem__)
            tally.note(f"quote {lang} lexical alone", plain(best) == plain(answer) or plain(answer) in plain(best))


def judge_tools(case: dict, judge: Judge, tally: Tally) -> None:
    lang, tools = case["language"], tools_of(case)
    lexical = Lexical(u for d in case["documents"] for u in units_of(d["text"]))
    for asked in case.get("tool_cases", []):
        for setting in ("with passages", "alone"):
            content = asked["ask"]
            if setting == "with passages":
                content = prompt_of(content, passages_for(case, {"ask": content}, lexical, most=2))
            messages = [{"role": "system", "content": system_of(case)}, {"role": "user", "content": content}]
            call = judge.call(messages, tools)
            wanted = asked["call"]
            tally.note(f"tools {lang} {setting}: call or not", (call is None) == (wanted is None))
            if wanted:
                tally.note(f"tools {lang} {setting}: tool chosen", bool(call) and call.get("name") == wanted["name"])
                same = bool(call) and {k: str(v) for k, v in (call.get("arguments") or {}).items()} == {
                    k: str(v) for k, v in wanted["arguments"].items()
                }
                tally.note(f"tools {lang} {setting}: exact arguments", same and call["name"] == wanted["name"])
    for told in case.get("tool_results", []):
        call = {
            "type": "function",
            "function": {
                "name": told["call"]["name"],
                "arguments": json.dumps(told["call"]["arguments"], ensure_ascii=False),
            },
        }
        content = told["result"] if isinstance(told["result"], str) else json.dumps(told["result"], ensure_ascii=False)
        messages = [
            {"role": "system", "content": system_of(case)},
            {"role": "user", "content": told["ask"]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": content},
        ]
        text = judge.say(messages, tools)
        known = content + told["ask"] + json.dumps(told["call"]["arguments"], ensure_ascii=False)
        tally.note(
            f"results {lang}: all values said", all(str(v).lower() in text.lower() for v in told["must_contain"])
        )
        tally.note(f"results {lang}: nothing invented", all(n in known for n in re.findall(r"\d[\d.,:]*\d|\d", text)))


def evaluate(model: Path, folder: Path, most: int = 3) -> dict[str, dict[str, float]]:
    judge, tally = Judge(model), Tally()
    for path in sorted(folder.glob("*.yaml")):
        case = yaml.safe_load(path.read_text("utf-8"))
        judge_questions(case, judge, tally, most)
        judge_tools(case, judge, tally)
        for hello in case.get("greetings", []):
            messages = [{"role": "system", "content": system_of(case)}, {"role": "user", "content": hello}]
            text = judge.say(messages, tools_of(case))
            tally.note(f"greeting {case['language']}", text.strip() == case["greeting"].strip())
    return tally.figures()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cases", type=Path, default=Path(__file__).parent / "eval")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--passages", type=int, default=3, help="how many documents stand in a prompt")
    options = parser.parse_args(arguments)
    figures = evaluate(options.model, options.cases, options.passages)
    for name in sorted(figures):
        f = figures[name]
        print(f"{name:64} {f['right']:4} of {f['of']:4}  {f['share']:.2f}")
    target = options.json or options.model.with_suffix(".figures.json")
    target.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
