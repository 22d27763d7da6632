"""YAML files, read strictly, with the line of every value kept for messages.

A subset of YAML 1.2 is understood: only ``true`` and ``false`` are booleans (``no`` is a word, as the French
and the Norwegians expect), dates stay text, keys are text and stand once, anchors and aliases are refused (a
file of 1 KB could otherwise grow to gigabytes), NaN and infinity are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from sartor.errors import SpecError
from sartor.values import JSONValue

__all__ = ["KeyPath", "YamlFile", "parse_yaml", "read_yaml"]

KeyPath = tuple[str | int, ...]
"""Where a value stands in a file: ``("plugins", "topics", "blocked", 0)``."""

_SCALARS = ("str", "int", "float", "bool", "null")
_MAX_DEPTH = 40
_SHOWN = 200
"""Characters of a line that an error shows."""
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class YamlFile:
    """What stands in a YAML file whose top level is a mapping."""

    path: Path
    data: dict[str, JSONValue]
    lines: Mapping[KeyPath, int]
    """The line, from 1, on which each key or list item stands."""

    def place(self, key: KeyPath = ()) -> str:
        """``FILE:LINE`` of a value, or of the nearest thing around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines.get(key, 1)}"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with the implicit types of YAML 1.2's core schema, less its octal and hexadecimal numbers."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$",
     "-+.0123456789"),
):  # fmt: skip
    for _character in _first:
        _key = "" if _character == "\0" else _character
        _Loader.yaml_implicit_resolvers.setdefault(_key, []).append((f"tag:yaml.org,2002:{_tag}", re.compile(_pattern)))


def read_yaml(path: Path) -> YamlFile:
    """Read the YAML file `path`. Raises `SpecError` naming file and line."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if len(raw) > _MAX_BYTES:
        raise SpecError(f"is larger than {_MAX_BYTES // 1024**2} MiB", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SpecError("is not UTF-8 text", where=f"{path}:{line}", remedy="Save the file as UTF-8.") from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlFile:
    """Read `text` as the content of the YAML file `path`. Raises `SpecError` naming file and line."""
    try:
        _check_shape(text, path)  # first, since composing is recursive in C, and a deep file would end the process
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return YamlFile(path, {}, {})
            reader = _Reader(path, loader)
            data = reader.value(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = (error.problem or "cannot be understood").replace("\n", " ")
        if "found character '\\t'" in problem or "found character that cannot start any token" in problem:
            problem += " (is there a tab? YAML wants blanks)"
        if "nesting depth" in problem:  # PyYAML 6.0.4 and later have a limit of their own, in the scanner
            raise SpecError(f"is nested more than {_MAX_DEPTH} deep", where=f"{path}:{line}") from error
        there = text.splitlines()[line - 1 : line]
        shown = f"The line reads: {there[0].strip()[:_SHOWN]}" if there and there[0].strip() else None
        raise SpecError(f"YAML error: {problem}", where=f"{path}:{line}", remedy=shown) from error
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise SpecError(f"YAML error: {str(error).splitlines()[0]}", where=f"{path}:{line}") from error
    if not isinstance(data, dict):
        raise SpecError("the top level is no mapping", where=f"{path}:1", remedy="Write `key: value` lines.")
    return YamlFile(path, data, reader.lines)


def _check_shape(text: str, path: Path) -> None:
    """Refuse anchors, aliases and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        where = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if getattr(event, "anchor", None) is not None:
            raise SpecError(
                "anchors and aliases (&, *) are not supported",
                where=where,
                remedy="Write the value out, or put a text that begins with & or * in quotes.",
            )
        if depth > _MAX_DEPTH:
            raise SpecError(f"is nested more than {_MAX_DEPTH} deep", where=where)


class _Reader:
    """Turns composed nodes to plain values and notes their lines."""

    def __init__(self, path: Path, loader: _Loader) -> None:
        self.path = path
        self.loader = loader
        self.lines: dict[KeyPath, int] = {}

    def value(self, node: yaml.Node, key: KeyPath) -> JSONValue:
        mapping, sequence = isinstance(node, yaml.MappingNode), isinstance(node, yaml.SequenceNode)
        known = ("map",) if mapping else ("seq",) if sequence else _SCALARS
        if node.tag.removeprefix("tag:yaml.org,2002:") not in known:
            raise self.error(node, f"the tag {node.tag!r} is not supported")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            items: list[JSONValue] = []
            for at, item in enumerate(node.value):
                self.lines[(*key, at)] = item.start_mark.line + 1
                items.append(self.value(item, (*key, at)))
            return items
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, JSONValue]:
        result: dict[str, JSONValue] = {}
        for name_node, value_node in node.value:
            name = name_node.value
            if not isinstance(name, str):
                raise self.error(name_node, "a key that is no text")
            if name in result:
                raise self.error(name_node, f"the key {name!r} stands twice", "Keep one of them.")
            self.lines[(*key, name)] = name_node.start_mark.line + 1
            result[name] = self.value(value_node, (*key, name))
        return result

    def scalar(self, node: yaml.Node) -> JSONValue:
        try:
            value = self.loader.construct_object(node)
        except (ValueError, KeyError) as error:  # `!!int word`, or a number of more than 4,300 digits
            raise self.error(node, f"{node.value[:40]!r} is no {node.tag.rpartition(':')[2]}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(node, f"{node.value} is no finite number")
        assert value is None or isinstance(value, str | int | float | bool)
        return value

    def error(self, node: yaml.Node, what: str, remedy: str | None = None) -> SpecError:
        return SpecError(what, where=f"{self.path}:{node.start_mark.line + 1}", remedy=remedy)
