"""What `flows` in `bot.yaml` may say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sartor.specbase import Spec
from sartor.texts import Phrases, Text, phrases_in

__all__ = ["PLACEHOLDER", "FlowName", "FlowReplies", "FlowSpec", "SlotSpec", "placeholders"]

FlowName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
"""Lower-case letters, digits and underscores: a model may call a flow by it, a tool takes a slot by it."""

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?\}")


def placeholders(text: Text) -> Iterator[tuple[str, str]]:
    """The names in braces in `text`, in every language: ``{order}``, ``{result.number}``."""
    for told in [text] if isinstance(text, str) else text.values():
        yield from ((match[1], match[2] or "") for match in PLACEHOLDER.finditer(told))


class SlotSpec(Spec):
    """One thing that a flow must know."""

    ask: Text
    """The question. It may name slots that are known already: ``At what time on {day}?``."""
    type: Literal["text", "integer", "number", "date", "time", "email", "phone", "choice", "yes_no"] = "text"
    """A tool is given a date as ``2026-12-14``, a time as ``09:30``, a choice as its key."""
    label: Text = ""
    """How it is called where the flow repeats what it understood; by default its name."""
    pattern: str = ""
    """For ``text``: a regular expression. What the user writes is searched for a stretch of words that fits."""
    choices: dict[str, Text] | list[str] = []
    """For ``choice``: what there is to choose from, or by key how each is called."""
    choices_from: str = ""
    """For ``choice``, in place of `choices`: a tool that gives a list of texts. It is called with those slots that it
    has arguments of, so they come before this one."""
    none: Text = {
        "en": "Nothing is left for that. Please choose something else.",
        "fr": "Il ne reste rien pour cela. Choisissez autre chose, s'il vous plaît.",
    }
    """What is said when `choices_from` gives nothing; the slot before it, of those that the tool takes, is asked for
    again."""
    at_least: float | None = None
    """The smallest number; for ``date``, days from today: 1 is tomorrow, -14 two weeks ago."""
    at_most: float | None = None
    """The largest number; for ``date``, days from today."""
    optional: bool = False
    """Whether the user may leave it out ("no", "skip")."""
    attribute: str = ""
    """What the host application says of the user under this name is taken, and not asked for."""
    check: str = ""
    """A tool that is called when the slot is known. Where it gives an error, the slot is asked for again; what it gives
    else, later texts may name by its parts: ``{order.status}``."""
    wrong: Text = ""
    """What is said when the user's answer does not fit; by default the question comes again."""

    @field_validator("pattern")
    @classmethod
    def _a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _fits_its_type(self) -> SlotSpec:
        if (self.type == "choice") != bool(self.choices or self.choices_from):
            raise ValueError("`choices` or `choices_from` go with `type: choice`, and one of them is needed there")
        if self.choices and self.choices_from:
            raise ValueError("`choices` and `choices_from` exclude each other")
        if self.pattern and self.type != "text":
            raise ValueError("`pattern` goes with `type: text`")
        bounded = self.at_least is not None or self.at_most is not None
        if bounded and self.type not in ("integer", "number", "date"):
            raise ValueError("`at_least` and `at_most` go with numbers and dates")
        return self

    @property
    def free(self) -> bool:
        """Whether any text is an answer."""
        return self.type == "text" and not self.pattern

    @property
    def options(self) -> Mapping[str, Text]:
        """The fixed choices by key."""
        return self.choices if isinstance(self.choices, dict) else {choice: choice for choice in self.choices}


class FlowSpec(Spec):
    """What must not be improvised: what to ask for, to repeat, and to do."""

    title: Text
    """What it is, in words that fit "Back to: …"."""
    start: Phrases = []
    """What users say who want it. A message with all informative words of a phrase begins the flow, unless it is
    a question about the matter. Any other message may begin it too: the model is told of the flow as of a tool."""
    by_model: bool = True
    """Whether the model may begin it as well, when users put it in other words. A small model may do so too often."""
    describe: str = ""
    """For the model: when to begin it. By default the title and the phrases."""
    audiences: list[str] = []
    """Only these may use it; empty: all."""
    slots: dict[FlowName, SlotSpec] = Field(min_length=1)
    """In the order in which they are asked for."""
    confirm: Text = ""
    """What is asked before anything is done. By default the slots are listed."""
    do: str = ""
    """The tool that does it, called with the slots that it has arguments of. The model itself cannot call it."""
    done: Text = ""
    """What is said afterwards: ``{result}`` is what the tool gave, ``{result.number}`` a part of it. By default the
    result itself."""
    hand_over: bool = False
    """Whether a person takes over at the end, with what the flow found out. Needs the bot's `hand_over`."""
    keep_hours: float = Field(default=24, gt=0, le=24 * 365)
    """How long the flow waits for an answer before it is forgotten."""

    @model_validator(mode="after")
    def _has_an_end(self) -> FlowSpec:
        if not self.do and not self.hand_over:
            raise ValueError("a flow needs `do`, `hand_over`, or both")
        checked = {name for name, slot in self.slots.items() if slot.check}
        for key, text, known in self._texts():
            for name, part in placeholders(text):
                if name not in known or (part and name not in ("result", *checked)):
                    shown = f"{name}.{part}" if part else name
                    raise ValueError(f"{key} names {{{shown}}}; here it may name: {', '.join(sorted(known)) or 'none'}")
        return self

    def phrases(self, language: str = "") -> list[str]:
        """What users say who want it, in that language, or in all."""
        return phrases_in(self.start, language)

    def _texts(self) -> Iterator[tuple[str, Text, set[str]]]:
        before: set[str] = set()
        for name, slot in self.slots.items():
            yield f"slots.{name}.ask", slot.ask, set(before)
            yield f"slots.{name}.wrong", slot.wrong, {*before, name}
            yield f"slots.{name}.none", slot.none, set(before)
            before.add(name)
        yield "confirm", self.confirm, before
        yield "done", self.done, {*before, "result"} if self.do else before


class FlowReplies(Spec):
    """What flows say beside their own texts."""

    confirm: Text = {"en": "Is this right?", "fr": "Est-ce bien cela ?"}
    """Before the list of what was understood, where a flow has no `confirm` of its own."""
    change: Text = {"en": "What shall I change?", "fr": "Que dois-je changer ?"}
    """After a "no" to what is to be confirmed."""
    again: Text = {"en": "I did not get that.", "fr": "Je n'ai pas compris."}
    """Before the question comes again."""
    back: Text = {"en": "Back to: {title}.", "fr": "Revenons à : {title}."}
    """After a question in between, and where a flow is taken up again."""
    left: Text = {
        "en": "All right, I have stopped. Nothing was done.",
        "fr": "Très bien, j'ai arrêté. Rien n'a été fait.",
    }
    """When the user wants to stop."""
    stuck: Text = {
        "en": "I do not get on here, so I have stopped. Nothing was done.",
        "fr": "Je n'avance pas, j'ai donc arrêté. Rien n'a été fait.",
    }
    """After three answers in a row that do not fit."""
    refused: Text = {
        "en": "That did not work: {reason}. Shall I try again, change something, or stop?",
        "fr": "Cela n'a pas marché : {reason}. Dois-je réessayer, changer quelque chose ou arrêter ?",
    }
    """When the tool says that it did nothing."""
    doing: Text = {"en": "That is under way. One moment, please.", "fr": "C'est en cours. Un instant, s'il vous plaît."}
    """To a message that comes while the tool runs."""
    unsure: Text = {
        "en": "Something broke while I did it, and I cannot tell whether it went through. Please have it checked.",
        "fr": "Une erreur s'est produite en cours de route et j'ignore si c'est fait. Merci de le faire vérifier.",
    }
    """When the tool failed in a way that tells nothing; it is never called twice."""
    skip: Text = {"en": "(You can skip this.)", "fr": "(Vous pouvez passer cette question.)"}
    """After the question for an optional slot."""

    @model_validator(mode="after")
    def _known_names(self) -> FlowReplies:
        for key, known in {"back": {"title"}, "refused": {"reason"}}.items():
            for name, part in placeholders(getattr(self, key)):
                if name not in known or part:
                    raise ValueError(f"{key} may name {{{next(iter(known))}}} only")
        return self
