"""Layers of settings: what a template says, what the operator says, what the tenant says, one over the other.

The rule is the same everywhere: mappings are merged key by key, lists are appended, other values are
replaced, and ``null`` removes what a lower layer said. Where each value came from is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sartor.errors import SpecError
from sartor.values import JSONValue, Origin
from sartor.yamlfile import KeyPath, YamlFile

__all__ = ["Layer", "Merged", "Source", "fill_values", "merge"]


@dataclass(frozen=True)
class Source:
    """Where a value stands and who wrote it."""

    place: str
    """``FILE:LINE``, or a word such as ``built in``."""
    origin: Origin


@dataclass(frozen=True)
class Layer:
    """One file's contribution, and whose it is."""

    file: YamlFile
    origin: Origin
    data: Mapping[str, JSONValue]
    """The part of the file that counts, which may be less than all of it."""
    prefix: KeyPath = ()
    """Where in the file `data` stands."""

    def source(self, key: KeyPath) -> Source:
        return Source(self.file.place((*self.prefix, *key)), self.origin)


@dataclass
class Merged:
    """The result of merging layers: plain data, and the source of each leaf and each mapping."""

    data: dict[str, JSONValue] = field(default_factory=dict)
    sources: dict[KeyPath, Source] = field(default_factory=dict)

    def place(self, key: KeyPath) -> str | None:
        """``FILE:LINE`` of a value or of the nearest thing around it; None when nobody wrote it."""
        while key:
            if key in self.sources:
                return self.sources[key].place
            key = key[:-1]
        return None

    def leaves(self) -> Iterator[tuple[KeyPath, JSONValue]]:
        """Each value that is no mapping and no list, with its path, in order."""
        yield from _leaves(self.data, ())


def merge(layers: Sequence[Layer]) -> Merged:
    """Lay `layers` over each other, the lowest first.

    Raises `SpecError` when a layer removes what no lower one has, or puts a list or mapping where a lower
    layer has something else.
    """
    merged = Merged()
    for layer in layers:
        _merge_mapping(merged, merged.data, layer, layer.data, ())
    return merged


def _merge_mapping(
    merged: Merged, into: dict[str, JSONValue], layer: Layer, data: Mapping[str, JSONValue], key: KeyPath
) -> None:
    for name, value in data.items():
        path = (*key, name)
        there = into.get(name)
        if value is None:
            if name not in into:
                raise SpecError(
                    f"{_dotted(path)} is empty",
                    where=layer.source(path).place,
                    remedy="Give it a value ({} for no settings), or leave it out. null removes what a template says.",
                )
            _forget(merged, path)
            del into[name]
        elif name in into and _shape(value) != _shape(there):
            raise SpecError(
                f"{_dotted(path)} is {_shape(value)} here, but {_shape(there)} in {merged.place(path)}",
                where=layer.source(path).place,
            )
        elif isinstance(value, dict):
            if not isinstance(there, dict):
                there = into[name] = {}
                merged.sources[path] = layer.source(path)
            _merge_mapping(merged, there, layer, value, path)
        elif isinstance(value, list):
            if not isinstance(there, list):
                there = into[name] = []
                merged.sources[path] = layer.source(path)
            for at, item in enumerate(value):
                _note(merged, layer, (*path, len(there)), item, (*path, at))
                there.append(item)
        else:
            into[name] = value
            merged.sources[path] = layer.source(path)


def _note(merged: Merged, layer: Layer, key: KeyPath, value: JSONValue, in_file: KeyPath) -> None:
    merged.sources[key] = layer.source(in_file)
    if isinstance(value, dict):
        for name, inner in value.items():
            _note(merged, layer, (*key, name), inner, (*in_file, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _note(merged, layer, (*key, at), inner, (*in_file, at))


def _forget(merged: Merged, key: KeyPath) -> None:
    for known in [known for known in merged.sources if known[: len(key)] == key]:
        del merged.sources[known]


def _shape(value: JSONValue) -> str:
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a single value"


def _dotted(key: KeyPath) -> str:
    return ".".join(map(str, key))


def _leaves(value: JSONValue, key: KeyPath) -> Iterator[tuple[KeyPath, JSONValue]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*key, name))
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*key, at))
    else:
        yield key, value


_PLACEHOLDER = re.compile(r"\$(\$)?\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}")


def fill_values(merged: Merged, values: Mapping[str, JSONValue]) -> None:
    """Put `values` in place of ``${name}`` in every text of `merged`; ``$${name}`` stays as ``${name}``.

    A text that is nothing but one placeholder takes the value with its type. Raises `SpecError` for a name that
    `values` lacks.
    """
    merged.data = {name: _filled(merged, values, inner, (name,)) for name, inner in merged.data.items()}


def _filled(merged: Merged, values: Mapping[str, JSONValue], value: JSONValue, key: KeyPath) -> JSONValue:
    if isinstance(value, dict):
        return {name: _filled(merged, values, inner, (*key, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(merged, values, inner, (*key, at)) for at, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def look_up(name: str) -> JSONValue:
        if name not in values:
            raise SpecError(
                f"{_dotted(key)} uses ${{{name}}}, which is no value of this bot",
                where=merged.place(key),
                remedy=f"Known values: {', '.join(sorted(values)) or 'none'}. Write $${{{name}}} for the text itself.",
            )
        return values[name]

    whole = _PLACEHOLDER.fullmatch(value)
    if whole and not whole[1]:
        return look_up(whole[2])
    return _PLACEHOLDER.sub(lambda m: m[0][1:] if m[1] else _shown(look_up(m[2])), value)


def _shown(value: JSONValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
