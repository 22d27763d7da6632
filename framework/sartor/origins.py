"""Where the arguments of a tool call come from, and the rule that follows for tools that act.

A document or a tool result may carry instructions of a stranger ("refund order 7 to account …"). So each
argument is traced to the texts that hold it; a tool that acts does not run on a value that only untrusted
data holds unless a person approves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sartor.values import ArgumentOrigins, JSONValue, Origin, Part

__all__ = ["argument_origins", "untrusted_arguments"]

_DATA = frozenset({Origin.DOCUMENT, Origin.TOOL})


def argument_origins(arguments: Mapping[str, JSONValue], seen: Sequence[Part]) -> ArgumentOrigins:
    """For each argument, the origins of the texts in `seen` that contain its values, letter case and spacing aside.

    Documents and tool results have a value if it stands anywhere in them, others only if it stands there as a word
    of its own: a user who writes "order 2012" did not write "12". An argument with several values (a list) has an
    origin only if all of them do. Empty: the model made the value up, or derived it.
    """
    found: dict[str, frozenset[Origin]] = {}
    for name, value in arguments.items():
        per_value = [{part.origin for part in seen if _holds(part, str(scalar))} for scalar in _scalars(value)]
        found[name] = frozenset(set.intersection(*per_value)) if per_value else frozenset()
    return found


def untrusted_arguments(arguments: Mapping[str, JSONValue], origins: ArgumentOrigins) -> list[str]:
    """The arguments whose value stands in nothing that the user, the tenant or the operator wrote: it is from a
    document, from a tool result, from an earlier reply, which may have quoted one, or the model's own, which may
    have rewritten one. Yes, no and nothing say too little to be traced."""
    return [
        name
        for name, value in arguments.items()
        if any(True for _ in _scalars(value)) and not origins.get(name, frozenset()) - _DATA - {Origin.MODEL}
    ]


def _holds(part: Part, value: str) -> bool:
    plain = _plain(value)
    if plain not in _plain(part.text):
        return False
    if part.origin in _DATA:
        return True
    spaced = r"\s*".join(map(re.escape, plain))
    return re.search(rf"(?<!\w){spaced}(?!\w)", part.text.casefold()) is not None


def _scalars(value: JSONValue) -> Iterator[str | int | float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
        yield value


def _plain(text: str) -> str:
    return "".join(text.casefold().split())
