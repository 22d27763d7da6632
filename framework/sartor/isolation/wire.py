"""What goes between a process and an isolated plugin: JSON, each piece with its length; nothing is unpickled.

What comes from the plugin's side is not trusted: it is bounded while it is read, and checked field by field.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sartor.values import BotInfo, JSONValue, Turn

__all__ = [
    "Decoder",
    "Frame",
    "Garbled",
    "ToolForm",
    "frame",
    "info_of",
    "plain",
    "told_info",
    "told_turn",
    "tool_forms",
    "turn_of",
]

Frame = dict[str, JSONValue]

_LENGTH = struct.Struct(">I")
_DEEPEST = 40
_MOST_TOOLS = 64
_MOST_DESCRIPTION = 2000
_MOST_SCHEMA = 20_000
_TOOL_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")


class Garbled(Exception):
    """What was read is not what it must be."""


def frame(told: Mapping[str, object]) -> bytes:
    """`told` as it goes through the socket."""
    data = json.dumps(told, default=str).encode("ascii")
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """Makes frames of bytes as they come, and takes none that is too long or too deep."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises `Garbled`."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > self.longest:
                raise Garbled(f"a frame of {length} bytes, where {self.longest} are taken")
            if len(self._data) < _LENGTH.size + length:
                return
            body = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
            del self._data[: _LENGTH.size + length]
            yield _parsed(body)


def _parsed(body: bytes) -> Frame:
    try:
        told = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"what is no JSON: {type(error).__name__}") from error
    if not isinstance(told, dict):
        raise Garbled("a frame that is no object")
    level: list[object] = [told]
    for _ in range(_DEEPEST):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return told
    raise Garbled(f"a frame more than {_DEEPEST} levels deep")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def plain(text: object, most: int) -> str:
    """A text of a plugin for people, the log or the model: bounded, without half characters. Raises `Garbled`."""
    if not isinstance(text, str):
        raise Garbled("something else where a text must be")
    return text[:most].encode("utf-8", "replace").decode("utf-8")


# What a tool is


@dataclass(frozen=True, slots=True)
class ToolForm:
    """All that the process of the project knows of an isolated tool."""

    name: str
    description: str
    schema: Mapping[str, JSONValue]
    acts: bool
    timeout: float | None
    audiences: frozenset[str]
    from_user: frozenset[str]
    for_flows: bool


def tool_forms(told: object) -> tuple[ToolForm, ...]:
    """The tools that a plugin says it has. Raises `Garbled`."""
    if not isinstance(told, list) or len(told) > _MOST_TOOLS:
        raise Garbled(f"a list of tools that is none, or has more than {_MOST_TOOLS}")
    return tuple(_tool_form(one) for one in told)


def _tool_form(told: object) -> ToolForm:
    match told:
        case {
            "name": str(name),
            "description": description,
            "schema": dict(schema),
            "acts": bool(acts),
            "timeout": None | int() | float() as timeout,
            "audiences": list(audiences),
            "from_user": list(from_user),
            "for_flows": bool(for_flows),
        }:
            pass
        case _:
            raise Garbled("a tool in an unknown form")
    if not _TOOL_NAME.fullmatch(name):
        raise Garbled("a tool whose name no model can call")
    if len(json.dumps(schema)) > _MOST_SCHEMA:
        raise Garbled(f"arguments of {name} that take more than {_MOST_SCHEMA} characters to describe")
    text = plain(description, _MOST_DESCRIPTION)
    if not text.strip():
        raise Garbled(f"a tool {name} without a description")
    users = frozenset(plain(one, 200) for one in from_user)
    schema = _without_patterns(schema, users)
    seconds = float(timeout) if timeout is not None and timeout > 0 else None
    allowed = frozenset(plain(one, 200) for one in audiences)
    return ToolForm(name, text, schema, acts, seconds, allowed, users, for_flows)


def _without_patterns(schema: dict[str, JSONValue], names: frozenset[str]) -> dict[str, JSONValue]:
    """`schema` without the patterns of `names`: they would be searched for here, and a pattern can be made so that this
    never ends. The plugin's process checks them."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not all(isinstance(one, dict) for one in properties.values()):
        raise Garbled("a tool whose arguments are no properties of an object")
    kept: dict[str, JSONValue] = {}
    for name, one in properties.items():
        assert isinstance(one, dict)
        kept[name] = {key: value for key, value in one.items() if key != "pattern"} if name in names else one
    return {**schema, "properties": kept}


# A turn, and a bot


def told_turn(turn: Turn) -> dict[str, object]:
    """`turn` for the wire."""
    return {**asdict(turn), "started": turn.started.isoformat() if turn.started else None}


def turn_of(told: Frame) -> Turn:
    """The turn of which `told_turn` made `told`."""
    started = told["started"]
    when = datetime.fromisoformat(started) if isinstance(started, str) else None
    return Turn(**{**told, "started": when})  # type: ignore[arg-type]


def told_info(info: BotInfo) -> dict[str, object]:
    """`info` for the wire."""
    return {**asdict(info), "directory": str(info.directory), "data": str(info.data)}


def info_of(told: Frame) -> BotInfo:
    """The bot of which `told_info` made `told`."""
    paths = {"directory": Path(str(told["directory"])), "data": Path(str(told["data"]))}
    return BotInfo(**{**told, **paths})  # type: ignore[arg-type]
