"""What comes out of a reply: text, calls, and what began like a call and is none."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sartor.values import JSONValue

__all__ = ["BrokenCall", "Call", "Event", "Text", "Written"]


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
    """What began like a tool call and is none: cut off, not understood, or an unknown tool."""

    text: str
    reason: str


Event = Text | Call | BrokenCall


@dataclass(frozen=True, slots=True)
class Written:
    """A call as a notation reads it, before anybody has looked whether there is such a tool."""

    name: JSONValue
    arguments: JSONValue

    def event(self, names: Collection[str]) -> Event:
        """A call where `names` has it; a broken one otherwise."""
        if not isinstance(self.name, str) or not self.name:
            return self._broken("the call has no name")
        if self.name not in names:
            return self._broken("there is no such tool")
        if not isinstance(self.arguments, Mapping):
            return self._broken("the arguments are no JSON object")
        return Call(f"call_{secrets.token_hex(8)}", self.name, _text(self.arguments))

    def _broken(self, reason: str) -> BrokenCall:
        return BrokenCall(_text({"name": self.name, "arguments": self.arguments}), reason)


def _text(value: object) -> str:
    """JSON that can be encoded: halves of a surrogate pair cannot."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
