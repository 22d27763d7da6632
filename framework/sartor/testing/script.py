"""The lines of a scripted model's script, as objects and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sartor.values import JSONValue

__all__ = ["Call", "Fail", "Say", "line_of", "told"]


@dataclass(frozen=True)
class Call:
    """A tool call, as a line of a script."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Say:
    """A text, with what else there is to say of it."""

    text: str
    usage: tuple[int, int, int] | None = None
    """Tokens of the prompt, of the reply, and of those of the prompt that were cached; None: words are counted."""
    delay: float | None = None
    """Seconds before each piece; None: those of the model."""


@dataclass(frozen=True)
class Fail:
    """The model breaks, after it has said `after`."""

    message: str = "the model broke"
    after: str = ""


def told(line: object) -> JSONValue:
    """A line as JSON, to be written into a project. Raises `TypeError` for one that is none."""
    match line:
        case str():
            return line
        case Call(name, arguments):
            return {"call": name, "arguments": cast("dict[str, JSONValue]", dict(arguments))}
        case Say(text, usage, delay):
            return {"say": text, "usage": list(usage) if usage else None, "delay": delay}
        case Fail(message, after):
            return {"fail": message, "after": after}
        case Sequence():
            return [told(one) for one in line]
    raise TypeError(
        f"{type(line).__name__} is no line of a script that can be written down: give text, Call, Say, Fail"
    )


def line_of(given: object) -> str | Call | Say | Fail | list[Call]:
    """The line that `told` made this JSON of. Raises `ValueError`."""
    match given:
        case str():
            return given
        case {"call": str(name), **rest}:
            arguments = rest.get("arguments", {})
            return Call(name, arguments if isinstance(arguments, dict) else {})
        case {"say": str(text), **rest}:
            usage = rest.get("usage")
            told = (usage[0], usage[1], usage[2]) if isinstance(usage, list) and len(usage) == 3 else None
            delay = rest.get("delay")
            return Say(text, told, delay if isinstance(delay, float | int) else None)
        case {"fail": str(message), **rest}:
            return Fail(message, str(rest.get("after", "")))
        case [*calls]:
            lines = [line_of(one) for one in calls]
            return [line for line in lines if isinstance(line, Call)]
    raise ValueError(f"{given!r} is no line of a script")
