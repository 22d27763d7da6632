"""What a caller wants a reply to look like, as a grammar: GBNF itself, or JSON that fits a schema."""

from __future__ import annotations

from collections.abc import Mapping

from sartor.errors import ModelError

from sartor_plugins.llama.schema import Rules

__all__ = ["reply_grammar"]

_REMEDY = 'Give {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "json_schema": {"schema": …}}.'


def reply_grammar(grammar: object, response_format: object) -> str:
    """GBNF for a reply; empty where anything may be said.

    `response_format` is that of OpenAI's API. Raises `ModelError` for both at once, and for what is neither.
    """
    if response_format is None:
        if grammar is None or isinstance(grammar, str):
            return grammar or ""
        raise ModelError("`grammar` must be GBNF, as text")
    if grammar:
        raise ModelError("`grammar` and `response_format` exclude one another")
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    match kind:
        case "text":
            return ""
        case "json_object":
            return Rules().source("object")
        case "json_schema":
            return _of_schema(response_format)
    raise ModelError(f"`response_format` cannot be {response_format!r}", remedy=_REMEDY)


def _of_schema(response_format: object) -> str:
    told = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    schema = told.get("schema") if isinstance(told, Mapping) else None
    if not isinstance(schema, Mapping):
        raise ModelError("`response_format` has no schema", remedy=_REMEDY)
    rules = Rules()
    try:
        return rules.source(rules.schema(dict(schema)))
    except ValueError as error:
        raise ModelError(f"the schema of `response_format` cannot be used: {error}") from error
