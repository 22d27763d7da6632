"""The part of an answer that the model is shown."""

from __future__ import annotations

from collections.abc import Sequence

from sartor.values import JSONValue

__all__ = ["columns_of", "pick"]


def pick(value: JSONValue, path: Sequence[str | int]) -> JSONValue:
    """What stands at `path`: a key of an object, a number in a list; a key is taken of each object of a list. None
    where there is nothing."""
    for at, key in enumerate(path):
        if isinstance(value, list) and isinstance(key, str):
            return [found for each in value if (found := pick(each, path[at:])) is not None]
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def columns_of(value: JSONValue, columns: Sequence[str]) -> JSONValue:
    """`value` with only these keys of its object, or of each object of its list. All of them where none is named."""
    if not columns:
        return value
    if isinstance(value, list):
        return [columns_of(each, columns) for each in value]
    return {key: value[key] for key in columns if key in value} if isinstance(value, dict) else value
