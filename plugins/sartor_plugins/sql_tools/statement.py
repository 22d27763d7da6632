"""The text of a query: its parameters, and that it is one that reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.errors import PluginError

__all__ = ["Statement", "parse_statement"]

_TOKEN = re.compile(
    r"""(?P<skip>'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/
        | (?P<dollar>\$[A-Za-z_]*\$).*?(?P=dollar) | ::)
      | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<end>;)
      | (?P<other>\?\d* | @[A-Za-z_]\w* | \$\d+)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    text: str
    names: Sequence[str]
    """Its parameters, each once, in the order in which they first stand."""

    def numbered(self) -> str:
        """With ``$1`` in place of the first parameter, as PostgreSQL has it."""
        places: Mapping[str, int] = {name: number for number, name in enumerate(self.names, start=1)}
        return _TOKEN.sub(lambda found: f"${places[found['name']]}" if found["name"] else found[0], self.text)


def parse_statement(label: str, text: str) -> Statement:
    """Raises `PluginError` for what is no single query. Whether it really only reads, the database sees to."""
    text = text.strip().removesuffix(";").strip()
    names: dict[str, None] = {}
    for found in _TOKEN.finditer(text):
        if found["name"]:
            names[found["name"]] = None
        elif found["end"] or found["other"]:
            what = "is more than one statement" if found["end"] else f"has the parameter {found['other']!r}"
            raise PluginError(f"sql: the query {label!r} {what}", remedy="Write one SELECT, with parameters as :name.")
    first = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", text, re.DOTALL)
    if first is None or first[1].lower() not in ("select", "with", "values"):
        raise PluginError(f"sql: the query {label!r} is no SELECT", remedy="Use a plugin of your own to change data.")
    return Statement(text, tuple(names))
