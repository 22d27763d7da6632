"""Whether a value fits a JSON Schema, as far as the schemas of tools go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["misfits"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


def misfits(value: object, schema: object, whole: object = None, at: str = "") -> Iterator[str]:
    """What is wrong with `value`, a sentence each: types, required and unknown keys, choices, patterns, bounds."""
    whole = schema if whole is None else whole
    if not isinstance(schema, dict):
        return
    if isinstance(reference := schema.get("$ref"), str):
        yield from misfits(value, _found(whole, reference), whole, at)
    for key in ("anyOf", "oneOf"):
        if isinstance(ways := schema.get(key), list) and all(any(misfits(value, one, whole, at)) for one in ways):
            yield f"{at or 'the value'}: {value!r} fits none of the alternatives"
    for one in schema.get("allOf", []):
        yield from misfits(value, one, whole, at)
    name = at or "the value"
    if not _is(value, schema.get("type")):
        yield f"{name}: {value!r} is no {schema['type']}"
        return
    yield from _bounds(value, schema, name)
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from misfits(one, schema.get("items"), whole, f"{at}.{number}".lstrip("."))
    if isinstance(value, dict):
        yield from _keys(value, schema, whole, at)


def _bounds(value: object, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{name}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{name}: {value!r} is not {schema['const']!r}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{name}: {value!r} does not match {schema['pattern']!r}"
    if isinstance(value, int | float):
        for key, wrong in (("minimum", value.__lt__), ("maximum", value.__gt__)):
            if key in schema and wrong(schema[key]) is True:
                yield f"{name}: {value!r} is beyond the {key} {schema[key]!r}"


def _keys(value: Mapping[str, object], schema: Mapping[str, object], whole: object, at: str) -> Iterator[str]:
    known = schema.get("properties", {})
    required = schema.get("required", [])
    more = schema.get("additionalProperties", True)
    assert isinstance(known, dict) and isinstance(required, list)
    for key in required:
        if key not in value:
            yield f"{key} is missing" + (f" in {at}" if at else "")
    for key, one in value.items():
        place = f"{at}.{key}".lstrip(".")
        if key in known:
            yield from misfits(one, known[key], whole, place)
        elif more is False:
            yield f"{place}: there is no such argument"
        else:
            yield from misfits(one, more, whole, place)


def _is(value: object, kind: object) -> bool:
    if isinstance(kind, list):
        return any(_is(value, one) for one in kind)
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def _found(whole: object, reference: str) -> object:
    found = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found
