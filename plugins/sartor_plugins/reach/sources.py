"""Values that no model sets: secrets by reference, and what the host application says of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sartor.errors import PluginError, ToolError, UsageError
from sartor.secrets import resolve_secret
from sartor.values import JSONValue, Turn

__all__ = ["Secrets", "bound", "check_source", "of_user"]

_SOURCE = re.compile(r"(?s)^(?P<before>(?:.*\s)?)(?P<reference>(?:env|file|turn):\S+)$")
_FIELDS = ("user", "tenant", "conversation", "language", "audience")
_MOST_SECRETS = 1000
"""Those of users come and go."""


def of_user(text: str) -> bool:
    """Whether `text` is filled from the turn."""
    match = _SOURCE.match(text)
    return match is not None and match["reference"].startswith("turn:")


def check_source(text: JSONValue, where: str) -> None:
    """Raises `PluginError` for a ``turn:`` that names nothing."""
    if isinstance(text, str) and of_user(text):
        name = text.rpartition("turn:")[2]
        if name not in _FIELDS and not name.startswith("attributes."):
            known = ", ".join(f"turn:{field}" for field in (*_FIELDS, "attributes.NAME"))
            raise PluginError(f"{where} names turn:{name}, and there is no such thing", remedy=f"There are: {known}.")


def bound(value: JSONValue, turn: Turn) -> JSONValue:
    """What an argument is bound to. Raises `ToolError` where the host application did not say it of the user."""
    if not (isinstance(value, str) and value.startswith("turn:")):
        return value
    return _from_turn(value.removeprefix("turn:"), turn)


def _from_turn(name: str, turn: Turn) -> JSONValue:
    if name in _FIELDS:
        return str(getattr(turn, name))
    key = name.removeprefix("attributes.")
    found = turn.attributes.get(key)
    if found is None or found == "":
        raise ToolError("it is not known for whom this is asked", remedy=f"The turn has no attribute {key!r}.")
    return found


class Secrets:
    """Looks references up, and keeps what it found out of what is told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._found: dict[str, None] = {}

    def value(self, text: str, turn: Turn | None) -> str:
        """`text` with its reference looked up. Raises `UsageError` for one that points to nothing, and `ToolError`
        where the turn does not have it."""
        match = _SOURCE.match(text)
        if match is None:
            return text
        reference = match["reference"]
        if not reference.startswith("turn:"):
            value = resolve_secret(reference, self._directory)
        elif turn is None:
            raise UsageError(f"{reference} is known only in a turn")
        else:
            value = str(_from_turn(reference.removeprefix("turn:"), turn))
        if not value.isprintable():
            raise UsageError(f"{reference} has a line break or another control character in it")
        self._found[value] = None
        while len(self._found) > _MOST_SECRETS:
            self._found.pop(next(iter(self._found)), None)
        return match["before"] + value

    def headers(self, settings: Mapping[str, str], turn: Turn | None) -> dict[str, str]:
        """Headers, looked up; those that need a turn are left out where there is none."""
        return {
            name.lower(): self.value(text, turn)
            for name, text in settings.items()
            if turn is not None or not of_user(text)
        }

    def hide(self, text: str) -> str:
        """`text` without any secret that was looked up."""
        for secret in tuple(self._found):
            if len(secret) >= 6 and secret in text:
                text = text.replace(secret, "•••")
        return text
