"""Whole training examples: a conversation, its tools, the answer, and which sentence it quotes."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from training.business import Fact, blocks, make_fact, make_question
from training.questions import Library, Question, content_stems
from training.smalltalk import Persona, hello, make_persona, off_topic
from training.tools_data import make_call, make_drill, make_tools, result_turn

__all__ = ["Example", "Generator", "Passage"]


@dataclass
class Passage:
    """A titled text made of units that can be quoted."""

    title: str
    units: list[str]
    layout: str = "prose"

    def render(self) -> tuple[str, list[tuple[int, int]]]:
        """The text, and where each unit stands in it."""
        before, between = {
            "prose": ("", " "),
            "lines": ("", "\n"),
            "bullets": ("- ", "\n"),
            "paragraphs": ("", "\n\n"),
            "numbers": ("1. ", "\n"),
        }[self.layout]
        text, spans = f"{self.title}\n", []
        for i, unit in enumerate(self.units):
            text += (between if i else "") + before
            spans.append((len(text), len(text) + len(unit)))
            text += unit
        return text, spans


def row_of(fact: Fact) -> str:
    """A fact as a row of a Markdown table: its name and its values."""
    cells = [v for v in fact.values.values() if v in fact.sentence]
    return "| " + " | ".join([fact.block.name.replace("-", " ").capitalize(), *cells]) + " |"


@dataclass
class Example:
    """`messages` ends before the answer; `units` are spans in the last message's content."""

    kind: str
    lang: str
    messages: list[dict]
    answer: str
    tools: list[dict] = field(default_factory=list)
    units: list[tuple[int, int]] = field(default_factory=list)
    gold: int = -1
    stems: list[str] = field(default_factory=list)
    fixed: bool = False  # the answer is one of the two texts in the system message


def ask_over(question: str, passages: list[Passage]) -> tuple[str, list[tuple[int, int]]]:
    """The user message with passages, and the spans of all units in it."""
    text, spans = f"Question: {question}\n\nPassages:\n", []
    for number, passage in enumerate(passages, 1):
        text += f"[{number}] "
        body, inner = passage.render()
        spans += [(a + len(text), b + len(text)) for a, b in inner]
        text += body + "\n\n"
    return text + f"Question: {question}", spans


class Generator:
    """Draws examples; `size` limits how many passages and words there are."""

    def __init__(self, library: Library, seed: int) -> None:
        self.library = library
        self.rng = random.Random(seed)
        self.most_passages, self.most_words = 4, 90
        self.plain = False  # the curriculum's first step: only answerable questions on real text

    def draw(self) -> Example:
        rng = self.rng
        lang = "fr" if rng.random() < 0.2 else "en"
        while True:
            way = rng.random()
            if self.plain or way < 0.16:
                found = self.real(lang)
            elif way < 0.42:
                found = self.business(lang)
            elif way < 0.62:
                found = self.call(lang)
            elif way < 0.72:
                found = self.result(lang)
            elif way < 0.77:
                found = self.greet(lang)
            elif way < 0.96:
                found = self.drill(lang)
            else:
                found = self.small(lang)
            if found is not None:
                return found

    # -- passages -----------------------------------------------------------------------------

    def chunk(self, lang: str, near: list[str] | None = None) -> Passage:
        """Some neighbouring sentences of one real document."""
        rng = self.rng
        document = (self.library.near(near, lang, rng) if near else None) or self.library.any(lang, rng)
        sentences = document["sentences"]
        start = rng.randrange(len(sentences))
        wanted = rng.randint(15, self.most_words)
        units: list[str] = []
        words = 0
        for sentence in sentences[start:] + sentences[:start][::-1]:
            words += len(sentence.split())
            if units and words > wanted:
                break
            units.append(sentence)
        layout = rng.choices(["prose", "lines", "bullets", "paragraphs", "numbers"], [8, 1, 1, 0.5, 0.3])[0]
        return Passage(document["title"].split(": ", 1)[-1] if rng.random() < 0.5 else document["title"], units, layout)

    def odd(self, lang: str) -> str:
        return self.rng.choice(self.library.any(lang, self.rng)["sentences"])

    def real(self, lang: str) -> Example | None:
        """A question about a sentence of real text; sometimes that sentence is taken away."""
        rng, library = self.rng, self.library
        home = self.chunk(lang)
        target = rng.choice(home.units)
        question = library.ask(target, lang, rng)
        if question is None:
            return None
        unanswerable = not self.plain and rng.random() < 0.3
        if unanswerable:
            if rng.random() < 0.5:
                home.units = [u for u in home.units if u != target]
            else:
                home = self.chunk(lang, question.stems)
        others = []
        for _ in range(rng.randint(0 if home.units else 1, self.most_passages - 1)):
            way = rng.random()
            others.append(
                self.chunk(lang, question.stems if way < 0.55 else content_stems(target) or None)
                if way < 0.75
                else self.chunk(lang)
            )
        passages = [p for p in ([home] if home.units else []) + others]
        if not passages:
            return None
        gold = None if unanswerable else target
        if not self.clear(question, gold, passages):
            return None
        return self.quoted("real", lang, question.text, passages, gold, question.stems)

    def clear(self, question: Question, gold: str | None, passages: list[Passage]) -> bool:
        """Whether the words point to the one sentence, or to none when there is no gold."""
        own, best = 0.0, 0.0
        for p in passages:
            for u in p.units:
                share = self.library.share(question.stems, u, p.title)
                if u == gold:
                    own = share
                else:
                    best = max(best, share)
        if gold is None:
            return best < 0.45
        return own >= 0.3 and own > best * 1.15

    def business(self, lang: str) -> Example | None:
        """A question about one fact among many facts of the same house."""
        rng = self.rng
        every = blocks(lang)
        home = rng.choice(every)
        shared: dict[str, str] = {}
        fact = make_fact(home, rng, lang, shared)
        asked = make_question(fact, rng, lang)
        if asked is None:
            return None
        question, names = asked
        if names and rng.random() < 0.12:
            fact.sentence = row_of(fact)
        same = [b for b in every if b.topic == home.topic and b.name != home.name]
        count = rng.randint(1, self.most_passages)
        groups: list[list[Fact]] = []
        used = {home.name}
        for g in range(count):
            pool = same if (g == 0 or rng.random() < 0.3) and same else list(every)
            picked = [b for b in rng.sample(pool, min(len(pool), rng.randint(1, 6))) if b.name not in used]
            used.update(b.name for b in picked)
            groups.append([make_fact(b, rng, lang) for b in picked])
        if names:  # the same fact about other things
            for _ in range(rng.randint(0, 4)):
                other = make_fact(home, rng, lang)
                if not set(other.values.values()) & set(fact.values.values()):
                    group = rng.choice(groups)
                    group.insert(rng.randint(0, len(group)), other)
        unanswerable = rng.random() < 0.16
        if not unanswerable:
            group = groups[0] if rng.random() < 0.7 else rng.choice(groups)
            group.insert(rng.randint(0, len(group)), fact)
        passages = []
        for group in groups:
            if not group:
                continue
            units = list(dict.fromkeys(f.sentence for f in group))
            if rng.random() < 0.2:  # some facts stand as rows of a table
                units = [row_of(f) if f is not fact and rng.random() < 0.5 else f.sentence for f in group]
            if rng.random() < 0.3:
                extra = self.chunk(lang).units[:2]
                at = rng.randint(0, len(units))
                units[at:at] = extra
            title = rng.choice(
                [
                    group[0].block.topic.capitalize(),
                    group[-1].block.topic.capitalize(),
                    question.rstrip("? ") if rng.random() < 0.1 else "Information",
                    "FAQ",
                    group[0].block.name.capitalize(),
                ]
            )
            passages.append(
                Passage(title, units, rng.choices(["prose", "lines", "bullets", "paragraphs"], [5, 3, 2, 1])[0])
            )
        if len(passages) < self.most_passages and rng.random() < 0.25:
            passages.append(self.chunk(lang))
        if not passages or sum(len(u.split()) for p in passages for u in p.units) > 4 * self.most_words:
            return None
        return self.quoted(
            "business", lang, question, passages, None if unanswerable else fact.sentence, content_stems(question)
        )

    # -- conversations ------------------------------------------------------------------------

    def opening(self, lang: str, odd_chance: bool = True) -> tuple[Persona, list[dict]]:
        persona = make_persona(self.rng, lang, self.odd(lang))
        messages = [{"role": "system", "content": persona.system}]
        return persona, messages

    def history(self, persona: Persona, lang: str) -> list[dict]:
        """Up to two earlier turns, without their passages."""
        rng, turns = self.rng, []
        for _ in range(rng.choices([0, 1, 2], [7, 2, 1])[0]):
            way = rng.random()
            if way < 0.2:
                pair = (hello(rng, lang), persona.greeting)
            elif way < 0.4:
                pair = (off_topic(rng, lang), persona.unknown)
            else:
                fact = make_fact(rng.choice(blocks(lang)), rng, lang)
                asked = make_question(fact, rng, lang)
                pair = (asked[0] if asked else "?", f"{fact.sentence} [{rng.randint(1, 4)}]")
            turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
        return turns

    def quoted(
        self, kind: str, lang: str, question: str, passages: list[Passage], gold: str | None, stems: list[str]
    ) -> Example | None:
        rng = self.rng
        rng.shuffle(passages)
        content, spans = ask_over(question, passages)
        persona, messages = self.opening(lang)
        messages += self.history(persona, lang)
        messages.append({"role": "user", "content": content})
        texts = [content[a:b] for a, b in spans]
        if gold is None:
            answer, at = persona.unknown, -1
        else:
            if texts.count(gold) != 1:
                return None
            at = texts.index(gold)
            number = next(i for i, p in enumerate(passages, 1) if gold in p.units)
            answer = f"{gold} [{number}]"
        tools = [t.as_openai() for t in make_tools(rng, lang)] if not self.plain and rng.random() < 0.25 else []
        return Example(
            kind if gold else kind + "-unknown", lang, messages, answer, tools, spans, at, stems, gold is None
        )

    def call(self, lang: str) -> Example:
        """A message that wants a tool, sometimes with passages beside it."""
        rng = self.rng
        tools = make_tools(rng, lang)
        tool = rng.choice(tools)
        message, arguments = make_call(tool, rng, lang)
        persona, messages = self.opening(lang)
        messages += self.history(persona, lang)
        if rng.random() < 0.3:
            message, _ = ask_over(message, [self.chunk(lang) for _ in range(rng.randint(1, 2))])
        messages.append({"role": "user", "content": message})
        call = json.dumps({"name": tool.name, "arguments": arguments}, ensure_ascii=False)
        return Example("call", lang, messages, f"<tool_call>{call}</tool_call>", [t.as_openai() for t in tools])

    def result(self, lang: str) -> Example:
        """A tool has answered: say what it found."""
        rng = self.rng
        tools = make_tools(rng, lang)
        tool = rng.choice(tools)
        message, arguments = make_call(tool, rng, lang)
        content, words = result_turn(tool, arguments, rng, lang)
        _persona, messages = self.opening(lang)
        if rng.random() < 0.3:
            message, _ = ask_over(message, [self.chunk(lang)])
        call = {"type": "function", "function": {"name": tool.name, "arguments": arguments}}
        messages += [
            {"role": "user", "content": message},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": content},
        ]
        return Example("result", lang, messages, words, [t.as_openai() for t in tools])

    def drill(self, lang: str) -> Example:
        """Values by their names, to be copied in another order: many in a short text."""
        content, answer = make_drill(self.rng, lang)
        return Example("drill", lang, [{"role": "user", "content": content}], answer)

    def greet(self, lang: str) -> Example:
        rng = self.rng
        persona, messages = self.opening(lang)
        messages += self.history(persona, lang)
        content = hello(rng, lang)
        if rng.random() < 0.3:
            content, _ = ask_over(content, [self.chunk(lang) for _ in range(rng.randint(1, 2))])
        messages.append({"role": "user", "content": content})
        tools = [t.as_openai() for t in make_tools(rng, lang)] if rng.random() < 0.3 else []
        return Example("greeting", lang, messages, persona.greeting, tools, fixed=True)

    def small(self, lang: str) -> Example:
        """A question with no passages, or with ones that have nothing to do with it."""
        rng = self.rng
        persona, messages = self.opening(lang)
        messages += self.history(persona, lang)
        if rng.random() < 0.5:
            content = off_topic(rng, lang)
        else:
            asked = make_question(make_fact(rng.choice(blocks(lang)), rng, lang), rng, lang)
            content = asked[0] if asked else off_topic(rng, lang)
        units: list[tuple[int, int]] = []
        if rng.random() < 0.4:
            content, units = ask_over(content, [self.chunk(lang) for _ in range(rng.randint(1, 3))])
        messages.append({"role": "user", "content": content})
        tools = [t.as_openai() for t in make_tools(rng, lang)] if rng.random() < 0.5 else []
        return Example("off-topic", lang, messages, persona.unknown, tools, units, fixed=True)
