"""What a message means to a flow: an answer, a correction, a yes, a question in between, a wish to stop.

What can be read for sure is read without a model: figures, dates, codes, a plain yes. Where a message may mean
several things, the model chooses among them; it never writes a value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sartor.flows.dates import folded
from sartor.flows.finding import Candidate, Kinds, covered
from sartor.flows.signals import Signals, signals_of
from sartor.flows.spec import FlowSpec, SlotSpec
from sartor.flows.state import Flow
from sartor.texts import in_language
from sartor.values import JSONValue
from sartor.words import stems_of

__all__ = ["Act", "Choose", "Reader", "Reading"]

Choose = Callable[[Mapping[str, str], Mapping[str, float]], Awaitable[str | None]]
"""Has the model choose what the message means: the meanings by key, in words, and how much speaks for each beforehand
(0 to 1; 0 where nothing is told). None where the model cannot tell."""

_QUESTION = "The user asks something else."
_NONE = "The user says nothing of that."


class Act(StrEnum):
    """What a user does with a message."""

    TELL = "tell"
    """Names values: answers or corrections."""
    YES = "yes"
    NO = "no"
    CHANGE = "change"
    """Wants a slot changed, without telling to what."""
    SKIP = "skip"
    LEAVE = "leave"
    ASK = "ask"
    """Asks something that is no part of the flow."""
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Reading:
    """What a message means."""

    act: Act
    values: Mapping[str, JSONValue] = field(default_factory=dict)
    slot: str = ""
    """The one to change, or to skip."""


class Reader:
    """Reads one message for one flow."""

    def __init__(self, spec: FlowSpec, flow: Flow, kinds: Kinds, choose: Choose) -> None:
        self._spec = spec
        self._flow = flow
        self._kinds = kinds
        self._choose = choose
        self._signals = signals_of(kinds.text)

    async def read(self) -> Reading:
        """What the message means where the flow stands."""
        if self._signals.leave and not self._is_a_choice():
            return Reading(Act.LEAVE)
        if self._flow.stage == "asking":
            return await self._answer()
        return await self._response()

    def first(self) -> Mapping[str, JSONValue]:
        """What the message that began the flow says already: values that cannot be anything else."""
        return self._told([], {})

    async def _answer(self) -> Reading:
        """To the question for a slot."""
        name, signals = self._flow.asked, self._signals
        slot = self._spec.slots[name]
        own = self._kinds.of(name, slot, asked=True, options=self._flow.options.get(name, ()), near=self._near(name))
        corrections = self._corrections(skip=() if slot.free else own)
        if slot.free and own:
            return await self._free(name, own[0], corrections)
        if len(own) > 1:
            chosen = await self._which(name, own)
            own = [chosen] if chosen else []
        if own:
            corrected = corrections if signals.corrects else {}
            return Reading(Act.TELL, {**self._told(own, corrected), **corrected, name: own[0].value})
        if signals.corrects and corrections:
            return Reading(Act.TELL, corrections)
        return await self._no_answer(name, slot, signals)

    async def _no_answer(self, name: str, slot: SlotSpec, signals: Signals) -> Reading:
        """To the question for a slot, with nothing in it of the slot's kind."""
        if slot.optional and signals.skip:
            return Reading(Act.SKIP, slot=name)
        if others := self._told([], {}):
            return Reading(Act.TELL, others)
        if signals.question:
            return Reading(Act.ASK)
        return await self._choice(name, slot) if slot.type == "choice" else Reading(Act.UNCLEAR)

    async def _free(self, name: str, own: Candidate, corrections: Mapping[str, JSONValue]) -> Reading:
        """To a question that any text answers."""
        signals, slot = self._signals, self._spec.slots[name]
        if slot.optional and signals.skip:
            return Reading(Act.SKIP, slot=name)
        if corrections and signals.corrects:
            return Reading(Act.TELL, corrections)
        if signals.question:
            meant = await self._choose(
                {"answer": f"The user answers: {self._label(name)}.", "ask": _QUESTION}, {"ask": 0.5}
            )
            return Reading(Act.TELL, {name: own.value}) if meant == "answer" else Reading(Act.ASK)
        return Reading(Act.TELL, {name: own.value})

    async def _choice(self, name: str, slot: SlotSpec) -> Reading:
        """Which of the choices the user describes in other words."""
        labels = {key: in_language(label, self._kinds.language) for key, label in slot.options.items()}
        labels = labels or {option: option for option in self._flow.options.get(name, ())}
        if not labels or sum(stem.isalpha() for stem in stems_of(self._kinds.text)) < 2:
            return Reading(Act.UNCLEAR)
        meanings = {f"={key}": f"{self._label(name)}: {label}." for key, label in labels.items()}
        meant = await self._choose({**meanings, "ask": _QUESTION, "none": _NONE}, {})
        if meant == "ask":
            return Reading(Act.ASK)
        if meant is None or meant == "none":
            return Reading(Act.UNCLEAR)
        return Reading(Act.TELL, {name: meant.removeprefix("=")})

    async def _response(self) -> Reading:
        """To what was repeated, or to "What shall I change?"."""
        signals = self._signals
        if (changes := await self._changes()) and not (signals.question and not signals.corrects):
            return Reading(Act.TELL, changes)
        if (self._flow.stage == "changing" or signals.no or signals.corrects) and (named := self._named()):
            return Reading(Act.CHANGE, slot=named)
        if signals.yes and not signals.no and not signals.question:
            return Reading(Act.YES)
        if signals.question:
            return Reading(Act.ASK)
        if signals.no or (signals.change and self._flow.stage == "confirming"):
            return Reading(Act.NO)
        return self._skip() if signals.skip else await self._in_other_words()

    async def _in_other_words(self) -> Reading:
        """A "no", a wish to stop or a question, as the model understands it. A yes is never its."""
        meant = await self._choose(
            {
                "yes": "The user agrees.",
                "no": "The user does not agree.",
                "leave": "The user wants to stop.",
                "ask": _QUESTION,
            },
            {},
        )
        return Reading(Act(meant)) if meant in ("no", "leave", "ask") else Reading(Act.UNCLEAR)

    def _skip(self) -> Reading:
        """There is no question to skip. It means the one thing that may be left out, where there is one; to "What shall
        I change?" it means nothing. It is no yes and no wish to stop."""
        if self._flow.stage == "changing":
            return Reading(Act.NO)
        slots = self._spec.slots
        known = [name for name in self._flow.values if name in slots]
        spare = [name for name in known if slots[name].optional and not slots[name].attribute]
        return Reading(Act.SKIP, slot=spare[0]) if len(spare) == 1 else Reading(Act.UNCLEAR)

    async def _changes(self) -> Mapping[str, JSONValue]:
        """The values in the message that are other than the present ones. Where a value may be that of several
        slots, the one that is named with it is meant, or the model chooses."""
        found = [c for c in self._candidates(self._flow.values) if c.value != self._flow.values.get(c.slot)]
        changes: dict[str, JSONValue] = {}
        for candidate in found:
            rivals = [c.slot for c in found if covered([candidate], c.start, c.end)]
            if len(rivals) == 1:
                changes[candidate.slot] = candidate.value
            elif candidate.slot == rivals[0]:
                named = self._named(rivals) or await self._slot_of(candidate, rivals)
                changes |= {c.slot: c.value for c in found if c.slot == named}
        return changes

    async def _slot_of(self, candidate: Candidate, rivals: Sequence[str]) -> str | None:
        written = self._kinds.text[candidate.start : candidate.end]
        return await self._choose({name: f"{self._label(name)}: {written}." for name in rivals}, {})

    async def _which(self, name: str, found: Sequence[Candidate]) -> Candidate | None:
        """Which of several values answers the question."""
        text = self._kinds.text
        if self._signals.corrects and len(found) == 2 and found[0].end <= found[1].start:
            return found[1]  # "not the 13th, the 14th"
        meanings = {str(at): f"{self._label(name)}: {text[c.start : c.end]}." for at, c in enumerate(found)}
        meant = await self._choose({**meanings, "none": _NONE}, {})
        return found[int(meant)] if meant and meant != "none" else None

    def _corrections(self, skip: Sequence[Candidate]) -> Mapping[str, JSONValue]:
        """Values of slots that are known already and were meant to be others, each for one slot only."""
        others = [name for name in self._flow.values if name != self._flow.asked]
        found = [
            c
            for c in self._candidates(others)
            if c.value != self._flow.values[c.slot] and not covered(skip, c.start, c.end)
        ]
        alone = [c for c in found if sum(covered([c], o.start, o.end) for o in found) == 1]
        return {c.slot: c.value for c in alone}

    def _told(self, own: Sequence[Candidate], corrected: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
        """Values of slots that are not known yet and were not asked for. A stretch is one slot's; where several slots
        are of a kind, they are told in their order."""
        taken, told = list(own), dict[str, JSONValue]()
        for name, slot in self._spec.slots.items():
            if name in self._flow.values or name == self._flow.asked or name in corrected or slot.choices_from:
                continue
            for candidate in self._kinds.of(name, slot):
                if not covered(taken, candidate.start, candidate.end):
                    told[name] = candidate.value
                    taken.append(candidate)
                    break
        return told

    def _candidates(self, names: Iterator[str] | Sequence[str] | Mapping[str, JSONValue]) -> list[Candidate]:
        slots = self._spec.slots
        return [
            candidate
            for name in names
            if name in slots and not slots[name].free
            for candidate in self._kinds.of(
                name, slots[name], options=self._flow.options.get(name, ()), near=self._near(name)
            )
        ]

    def _named(self, names: Sequence[str] = ()) -> str | None:
        """The slot that the message names by its label; None where it names none, or several."""
        said = stems_of(self._kinds.text)
        named = [
            name
            for name in names or [*self._spec.slots]
            if ((stems := stems_of(f"{self._label(name)}")) and stems & said) or name in self._kinds.text.split()
        ]
        return named[0] if len(named) == 1 else None

    def _near(self, name: str) -> JSONValue:
        return self._flow.values.get(name) if self._spec.slots[name].type == "date" else None

    def _is_a_choice(self) -> bool:
        """Whether the message is what stands among the choices, word for word: "I changed my mind"."""
        name, said = self._flow.asked, folded(self._kinds.text).strip(" .!")
        if self._flow.stage != "asking" or self._spec.slots[name].type != "choice":
            return False
        labels = [in_language(label, self._kinds.language) for label in self._spec.slots[name].options.values()]
        return said in (folded(label) for label in labels or self._flow.options.get(name, ()))

    def _label(self, name: str) -> str:
        return in_language(self._spec.slots[name].label, self._kinds.language) or name.replace("_", " ")
