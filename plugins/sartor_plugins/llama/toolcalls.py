"""How models write tool calls, and finding calls in a reply while it streams."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called

__all__ = ["BrokenCall", "Call", "CallFormat", "CallScanner", "Event", "Text", "format_of", "function_of", "held_back"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A complete tool call."""

    id: str
    name: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """What began like a tool call and is none: cut off, no JSON, or an unknown tool."""

    text: str
    reason: str


Event = Text | Call | BrokenCall


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How one family of models writes calls."""

    opening: str
    closing: str = ""
    """Empty: the call lasts to the end of the reply."""
    arguments: str = "arguments"
    several: bool = False
    """Whether a JSON list of calls follows the opening."""
    bare: bool = False
    """Whether the opening is the beginning of the JSON itself, which counts at the start of a reply only."""

    def spell(self, call: Called) -> str:
        """`call` as the model would write it."""
        told = json.dumps({"name": call.name, self.arguments: dict(call.arguments)}, ensure_ascii=False)
        told = f"[{told}]" if self.several else told
        return f"{'' if self.bare else self.opening}{told}{self.closing}"

    @property
    def example(self) -> str:
        """What the model is shown where its template does not tell it how to call."""
        told = f'{{"name": "TOOL", "{self.arguments}": {{"ARGUMENT": "VALUE"}}}}'
        told = f"[{told}]" if self.several else told
        return f"{'' if self.bare else self.opening}{told}{self.closing}"


_TAGGED = CallFormat("<tool_call>", "</tool_call>")
_LISTED = CallFormat("[TOOL_CALLS]", several=True)
_BARE = CallFormat('{"name":', arguments="parameters", bare=True)


def format_of(template: str) -> CallFormat:
    """The format that a chat template shows; tagged JSON where it shows none."""
    if "[TOOL_CALLS]" in template:
        return _LISTED
    if "<tool_call>" not in template and '"parameters"' in template and '"name"' in template:
        return _BARE
    return _TAGGED


def function_of(tool: JSONValue) -> tuple[str, dict[str, JSONValue]]:
    """Name and parameters' JSON Schema of a tool in OpenAI's form."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return "", {}
    parameters = function.get("parameters")
    return str(function.get("name", "")), parameters if isinstance(parameters, dict) else {}


def held_back(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `marks`."""
    longest = max(map(len, marks), default=0)
    for count in range(min(longest - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-count:]) for mark in marks):
            return count
    return 0


class CallScanner:
    """Takes a reply piece by piece, gives back text at once and calls when they are complete."""

    def __init__(self, form: CallFormat, names: Sequence[str]) -> None:
        self._form = form
        self._names = names
        self._held = ""
        self._begun = False
        self._after = False
        self.body: str | None = None
        """The call so far, without its opening; None outside of one."""

    def feed(self, text: str) -> list[Event]:
        """What is certain after `text`."""
        if self.body is not None:
            return self._inside(text)
        if self._after:  # the whitespace between two calls
            text = text.lstrip()
            self._after = not text
        self._held += text
        before, found = self._opening()
        out: list[Event] = []
        if found is not None:
            said, self._held = before, ""
            self.body = self._form.opening if self._form.bare else ""
            out = self._inside(found)
        else:
            keep = self._kept()
            said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if said:
            self._begun = self._begun or bool(said.strip())
            out.insert(0, Text(said))
        return out

    def finish(self) -> list[Event]:
        """What is left when the reply has ended."""
        body, held = self.body, self._held
        self.body, self._held = None, ""
        if body is None:
            return [Text(held)] if held else []
        return self._calls(body, whole=not self._form.closing)

    def _opening(self) -> tuple[str, str | None]:
        """The text before the opening of a call, and what follows it; None where there is no opening yet."""
        if not self._form.bare:
            before, found, after = self._held.partition(self._form.opening)
            return before, after if found else None
        bare = self._held.lstrip()
        starts = not self._begun and bare.startswith(self._form.opening)
        return "", bare[len(self._form.opening) :] if starts else None

    def _kept(self) -> int:
        if not self._form.bare:
            return held_back(self._held, [self._form.opening])
        starts = not self._begun and self._form.opening.startswith(self._held.lstrip())
        return len(self._held) if starts else 0

    def _inside(self, text: str) -> list[Event]:
        self.body = (self.body or "") + text
        if not self._form.closing:
            return []
        inside, found, after = self.body.partition(self._form.closing)
        if not found:
            return []
        self.body = None
        self._after = True
        return self._calls(inside, whole=True) + self.feed(after)

    def _calls(self, body: str, *, whole: bool) -> list[Event]:
        if not whole:
            return [BrokenCall(body, "the reply ended inside the call")]
        try:
            told = json.loads(body, strict=False)
        except (ValueError, RecursionError) as error:
            return [BrokenCall(body, f"the call is no JSON: {error}")]
        return [self._call(one) for one in (told if self._form.several and isinstance(told, list) else [told])]

    def _call(self, told: JSONValue) -> Event:
        text = json.dumps(told, ensure_ascii=False)
        if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
            return BrokenCall(text, "the call has no name")
        arguments = told.get("arguments", told.get("parameters", {}))
        if told["name"] not in self._names:
            return BrokenCall(text, "there is no such tool")
        if not isinstance(arguments, Mapping):
            return BrokenCall(text, "the arguments are no JSON object")
        return Call(f"call_{secrets.token_hex(8)}", str(told["name"]), json.dumps(arguments, ensure_ascii=False))
