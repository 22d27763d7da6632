"""Messages as a chat template sees them, with every text of others hidden behind an unguessable marker."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sartor.values import JSONValue

from sartor_plugins.llama.vocabulary import Piece

__all__ = ["Called", "Line", "Veil", "calls_apart", "merged_system", "plain_tools", "short_id", "told_tools"]

_SHORT = re.compile(r"[A-Za-z0-9]{9}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call of an earlier reply."""

    id: str
    name: str
    arguments: Mapping[str, JSONValue]


@dataclass(frozen=True, slots=True)
class Line:
    """One message: `role` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    text: str
    calls: tuple[Called, ...] = ()
    call: str = ""
    """The id of the call that a tool's message answers."""
    tool: str = ""
    """The name of the tool that answers."""


class Veil:
    """Hides texts from a template and puts them back as pieces that are not trusted.

    Whitespace at either end stays visible, so that a template that trims its messages still does.
    """

    def __init__(self) -> None:
        self._nonce = f"x{secrets.token_hex(12)}"
        self._hidden: list[str] = []
        self._must: set[int] = set()
        self._pattern = re.compile(self._nonce + r"([pj])(\d{6})z")

    def hide(self, text: str, *, must: bool = False) -> str:
        """A marker for `text`; `must`: `split` fails where the template leaves it out."""
        bare = text.strip()
        if not bare:
            return text
        if must:
            self._must.add(len(self._hidden))
        self._hidden.append(bare)
        start = text.index(bare)
        return f"{text[:start]}{self._nonce}p{len(self._hidden) - 1:06d}z{text[start + len(bare) :]}"

    def hide_all(self, value: JSONValue) -> JSONValue:
        """`value` with every string in it hidden that is more than an identifier."""
        if isinstance(value, str):
            return value if _IDENTIFIER.fullmatch(value) else self.hide(value)
        if isinstance(value, Mapping):
            return {str(self.hide_all(key)): self.hide_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_all(item) for item in value]
        return value

    def to_json(self, value: object, indent: int | None = None) -> str:
        """The template's filter `tojson`: what is hidden will be put back as the inside of a JSON string."""
        text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
        return text.replace(f"{self._nonce}p", f"{self._nonce}j")

    def split(self, rendered: str) -> list[Piece] | None:
        """The pieces of what a template rendered; None where it left out or mangled a text."""
        pieces: list[Piece] = []
        seen: set[int] = set()
        at = 0
        for match in self._pattern.finditer(rendered):
            pieces.append(Piece(rendered[at : match.start()], trusted=True))
            number = int(match[2])
            seen.add(number)
            text = self._hidden[number]
            pieces.append(Piece(json.dumps(text, ensure_ascii=False)[1:-1] if match[1] == "j" else text))
            at = match.end()
        pieces.append(Piece(rendered[at:], trusted=True))
        mangled = any(self._nonce[:9] in piece.text.lower() for piece in pieces if piece.trusted)
        return None if mangled or not self._must <= seen else pieces


def short_id(id: str) -> str:
    """`id` as nine letters, which Mistral's templates insist on; the same one for the call and its result."""
    return id if _SHORT.fullmatch(id) else hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:9]


def calls_apart(lines: Sequence[Line]) -> list[Line]:
    """For templates that show one call a message, and no text beside it: each call in a message of its own, followed
    by its result."""
    results = {line.call: line for line in lines if line.role == "tool"}
    moved: set[str] = set()
    out: list[Line] = []
    for line in lines:
        if not line.calls:
            if line.role != "tool" or line.call not in moved:
                out.append(line)
            continue
        if line.text.strip():
            out.append(replace(line, calls=()))
        for call in line.calls:
            out.append(replace(line, text="", calls=(call,)))
            if call.id in results and call.id not in moved:
                out.append(results[call.id])
                moved.add(call.id)
    return out


def merged_system(lines: Sequence[Line]) -> list[Line]:
    """For templates that forbid a system message: it is put before the first user's message."""
    told = "\n\n".join(line.text for line in lines if line.role == "system")
    rest = [line for line in lines if line.role != "system"]
    at = next((at for at, line in enumerate(rest) if line.role == "user"), None)
    if at is None:
        return [Line("user", told), *rest]
    rest[at] = replace(rest[at], text=f"{told}\n\n{rest[at].text}" if told else rest[at].text)
    return rest


def plain_tools(lines: Sequence[Line], spell: Callable[[Called], str]) -> list[Line]:
    """For templates that know no tools or demand alternating roles: calls become text of the assistant, results
    text of the user, and neighbours of one role become one message."""
    out: list[Line] = []
    for line in lines:
        role, text = line.role, "\n".join(filter(None, [line.text, *map(spell, line.calls)]))
        if role == "tool":
            role, text = "user", f"Result of the tool {line.tool}:\n{text}"
        if out and out[-1].role == role:
            out[-1] = Line(role, f"{out[-1].text}\n\n{text}")
        else:
            out.append(Line(role, text))
    return out


def told_tools(lines: Sequence[Line], tools: Iterable[JSONValue], example: str) -> list[Line]:
    """For templates that do not know `tools`: described in the system message, with how to call them."""
    described = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    text = f"You may use these tools:\n{described}\n\nTo use one, answer only with:\n{example}"
    if lines and lines[0].role == "system":
        return [replace(lines[0], text=f"{lines[0].text}\n\n{text}"), *lines[1:]]
    return [Line("system", text), *lines]
