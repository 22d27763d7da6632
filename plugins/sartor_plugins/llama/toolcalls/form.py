"""A format of tool calls: what stands before and after them, and the notation between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import Rules, Spelling
from sartor_plugins.llama.toolcalls.events import Written

__all__ = [
    "ANY_NAME",
    "KNOWN_NAME",
    "Balance",
    "CallFormat",
    "Notation",
    "Progress",
    "Start",
    "function_of",
    "held_back",
]

ANY_NAME = "%name"
"""A part of `CallFormat.start`: any name of a tool or variable."""
KNOWN_NAME = "%known"
"""Stands in a part of `CallFormat.start` for the name of a tool that there is."""
NOT_YET = -1


class Progress(Protocol):
    """How far the reading of a call has come, character by character."""

    @property
    def quoted(self) -> bool:
        """Inside a string, where nothing ends a call."""

    @property
    def whole(self) -> bool:
        """The outermost bracket is closed."""

    def take(self, char: str) -> None:
        """Go on past `char`."""


class Notation(Protocol):
    """How calls are written between what opens and what closes them."""

    @property
    def spelling(self) -> Spelling:
        """Of the values, for the grammar."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts inside a call that may be single tokens of the vocabulary."""

    def spell(self, call: Called) -> str:
        """`call` as the model would write it."""

    def progress(self) -> Progress:
        """For one reading."""

    def parse(self, text: str) -> list[Written]:
        """The calls in `text`, at least one. Raises `ValueError` saying what is wrong with it."""

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        """The rule of one call or more. `strict`: arguments fit the schemas; else any object.

        Raises `ValueError` for what cannot be expressed.
        """


class Balance:
    """Follows brackets and strings. Quotation marks count inside brackets only: prose has apostrophes."""

    def __init__(self, quotes: str) -> None:
        self.quoted = False
        self.whole = False
        self._quotes = quotes
        self._quote = ""
        self._escaped = False
        self._depth = 0

    def take(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self.quoted:
            self._escaped = char == "\\"
            self.quoted = char != self._quote
        elif char in self._quotes and self._depth:
            self.quoted, self._quote = True, char
        elif char in "[{(":
            self._depth += 1
            self.whole = False
        elif char in "]})" and self._depth:
            self._depth -= 1
            self.whole = not self._depth


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How one family of models writes calls."""

    opening: str
    closing: str
    """Empty: the call ends with its outermost bracket."""
    notation: Notation
    bare: bool = False
    """Whether the opening is the beginning of the call itself, which counts at the start of a reply only."""
    early: bool = False
    """Whether the opening counts at the start of a reply only, since it may stand in any text."""
    start: tuple[str, ...] = ()
    """What shows that a call begins, where the opening alone does not; there may be whitespace between the parts."""
    again: str = ""
    """Characters that begin a further call after one without a closing."""
    others: tuple[CallFormat, ...] = ()
    """Formats that are read as well, but never asked for."""

    def spell(self, call: Called) -> str:
        """`call` as the model would write it."""
        return f"{'' if self.bare else self.opening}{self.notation.spell(call)}{self.closing}"

    @property
    def example(self) -> str:
        """What the model is shown where its template does not tell it how to call."""
        return self.spell(Called("", "TOOL", {"ARGUMENT": "VALUE"}))

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that may be single tokens of the vocabulary, which the scanner must be shown."""
        own = () if self.bare else (self.opening.strip(), self.closing.strip())
        return tuple(filter(None, (*own, *self.notation.marks, *(mark for form in self.others for mark in form.marks))))

    def starts(self, names: Sequence[str]) -> list[Start]:
        """Everything that begins a call, of this format or the others."""
        own = Start(self, self.start or (self.opening,), self.bare or self.early, tuple(names))
        return [own, *(start for form in self.others for start in form.starts(names))]


@dataclass(frozen=True, slots=True)
class Start:
    """What begins a call; `early`: at the start of a reply only."""

    form: CallFormat
    parts: tuple[str, ...]
    early: bool
    names: tuple[str, ...]

    def match(self, text: str) -> int | None:
        """Where in `text` the call's own text begins; `NOT_YET` while more must be seen, None where none begins."""
        at = inside = 0
        for number, part in enumerate(self.parts):
            if number or self.early:
                at = len(text) - len(text[at:].lstrip())
            if self.form.bare and not number:
                inside = at
            length = _matched(text[at:], part, self.names)
            if length is None or length == NOT_YET:
                return length
            at += length
            if not self.form.bare and not number:
                inside = at
        return inside


def _matched(text: str, part: str, names: Sequence[str]) -> int | None:
    if part in (ANY_NAME, KNOWN_NAME):
        length = next((at for at, char in enumerate(text) if not (char.isalnum() or char in "_-.")), len(text))
        if length == len(text):
            return NOT_YET
        return (length or None) if part == ANY_NAME or text[:length] in names else None
    if KNOWN_NAME in part:
        lengths = [_matched(text, part.replace(KNOWN_NAME, name), ()) for name in names]
        return max((length for length in lengths if length is not None), default=None)
    if text.startswith(part):
        return len(part)
    return NOT_YET if part.startswith(text) else None


def function_of(tool: JSONValue) -> tuple[str, dict[str, JSONValue]]:
    """Name and parameters' JSON Schema of a tool in OpenAI's form."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return "", {}
    parameters = function.get("parameters")
    return str(function.get("name", "")), dict(parameters) if isinstance(parameters, Mapping) else {}


def held_back(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `marks`."""
    longest = max(map(len, marks), default=0)
    for count in range(min(longest - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-count:]) for mark in marks):
            return count
    return 0
