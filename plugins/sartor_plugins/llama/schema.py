"""JSON Schemas as GBNF, the grammars of llama.cpp.

Of a schema, what a grammar can say is kept: types, properties, required ones, enums, alternatives, references,
lengths of lists and short texts. The rest (patterns, formats, ranges) is left to whoever validates the value.
Names of rules are numbers and every text of a schema is escaped, so a hostile schema cannot write rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sartor.values import JSONValue

__all__ = ["JSON_SPELLING", "Rules", "Spelling", "literal"]

_BASE = {
    "sp": '" "?',
    "char": r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "pair": 'string ":" sp value',
    "object": '"{" (pair ("," sp pair)*)? "}"',
    "array": '"[" (value ("," sp value)*)? "]"',
    "value": "object | array | string | number | boolean | null",
}
_COMMA = '"," sp '
_LARGEST = 200_000
_COUNTED = 200


def literal(text: str) -> str:
    """`text` word for word."""
    escaped = re.sub(r'["\\]', r"\\\g<0>", text)
    return '"' + re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: f"\\U{ord(found[0]):08X}", escaped) + '"'


def _json_key(name: str) -> str:
    return f'{literal(json.dumps(name, ensure_ascii=False))} ":" sp'


def _json_value(value: JSONValue) -> str:
    return literal(json.dumps(value, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a family of models writes values, where it is not as JSON."""

    base: Mapping[str, str] = field(default_factory=dict)
    """Rules that take the place of JSON's."""
    key: Callable[[str], str] = _json_key
    """What stands before a property's value."""
    value: Callable[[JSONValue], str] = _json_value
    """One value word for word."""
    quotes: tuple[str, str] = (r'"\""', r'"\""')
    """What stands before and after the characters of a string."""


JSON_SPELLING = Spelling()


class Rules:
    """The rules of one grammar, growing with each schema."""

    def __init__(self, spelling: Spelling = JSON_SPELLING) -> None:
        self.spelling = spelling
        self._rules = {**_BASE, **spelling.base}
        self._size = 0

    def add(self, rule: str) -> str:
        """A name for `rule`. Raises `ValueError` when the grammar becomes too large."""
        self._size += len(rule)
        if self._size > _LARGEST:
            raise ValueError("the schemas of the tools are too large for a grammar")
        name = f"r{len(self._rules)}"
        self._rules[name] = rule
        return name

    def change(self, name: str, rule: str) -> None:
        """Give `name` another rule."""
        self._rules[name] = rule

    def schema(self, schema: JSONValue) -> str:
        """The name of a rule for the JSON values that `schema` allows.

        Raises `ValueError` for references to nowhere, and for schemas that are too large or too deep.
        """
        try:
            return _Schema(self, schema).rule(schema)
        except RecursionError as error:
            raise ValueError("a tool's schema is too deep for a grammar") from error

    def members(self, schema: JSONValue, key: Callable[[str], str]) -> str:
        """What stands between the brackets of an object that `schema` allows, its own keys written by `key`.

        Nothing where it lists no properties. Raises `ValueError` like `schema`.
        """
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or not properties:
            return '""'
        try:
            return _Schema(self, schema).members(schema, properties, key)
        except RecursionError as error:
            raise ValueError("a tool's schema is too deep for a grammar") from error

    def source(self, root: str) -> str:
        """The grammar, whose first rule is `root`."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {rule}" for name, rule in self._rules.items())])


class _Schema:
    """One schema and the references inside it."""

    def __init__(self, rules: Rules, document: JSONValue) -> None:
        self._rules = rules
        self._document = document
        self._known: dict[str, str] = {}

    def rule(self, schema: JSONValue) -> str:
        if not isinstance(schema, Mapping):
            return "value"
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]))
        if (options := self._options(schema)) is not None:
            return self._one_of(options)
        if isinstance(parts := schema.get("allOf"), list) and len(parts) == 1:
            return self.rule(parts[0])
        return self._typed(schema.get("type") or ("object" if "properties" in schema else ""), schema)

    def _options(self, schema: Mapping[str, JSONValue]) -> list[str] | None:
        """The alternatives that a schema lists; None where it lists none."""
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(values, list) and values:
            return [self._rules.spelling.value(value) for value in values]
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            return [self.rule(option) for option in options]
        kinds = schema.get("type")
        return [self._typed(kind, schema) for kind in kinds] if isinstance(kinds, list) and kinds else None

    def _one_of(self, options: Sequence[str]) -> str:
        return self._rules.add(" | ".join(dict.fromkeys(options)))

    def _typed(self, kind: JSONValue, schema: Mapping[str, JSONValue]) -> str:
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        if kind == "string":
            return self._string(schema)
        return str(kind) if kind in ("integer", "number", "boolean", "null") else "value"

    def _reference(self, reference: str) -> str:
        if reference not in self._known:
            found = self._document
            for key in reference.removeprefix("#").strip("/").split("/") if reference != "#" else []:
                name = key.replace("~1", "/").replace("~0", "~")
                if not reference.startswith("#") or not isinstance(found, Mapping) or name not in found:
                    raise ValueError(f"a tool's schema refers to {reference!r}, which is not in it")
                found = found[name]
            self._known[reference] = self._rules.add("value")  # known before its rule, which may refer to it
            self._rules.change(self._known[reference], self.rule(found))
        return self._known[reference]

    def _string(self, schema: Mapping[str, JSONValue]) -> str:
        low, high = _count(schema.get("minLength")), _count(schema.get("maxLength"))
        if not low and high is None:
            return "string"
        before, after = self._rules.spelling.quotes
        return self._rules.add(f"{before} char{{{low or 0},{'' if high is None else high}}} {after}")

    def _array(self, schema: Mapping[str, JSONValue]) -> str:
        item = self.rule(schema.get("items"))
        low, high = _count(schema.get("minItems")) or 0, _count(schema.get("maxItems"))
        if high == 0:
            return self._rules.add('"[" "]"')
        more = f"({_COMMA}{item}){{{max(low - 1, 0)},{'' if high is None else max(high - 1, 0)}}}"
        inside = f"{item} {more}"
        return self._rules.add(f'"[" {inside if low else f"({inside})?"} "]"')

    def _object(self, schema: Mapping[str, JSONValue]) -> str:
        properties = schema.get("properties")
        further = schema.get("additionalProperties")
        if not isinstance(properties, Mapping) or not properties:
            if isinstance(further, Mapping) and further:
                pair = f'string ":" sp {self.rule(further)}'
                return self._rules.add(f'"{{" ({pair} ({_COMMA}{pair})*)? "}}"')
            return self._rules.add('"{" "}"') if further is False or properties is not None else "object"
        inside = self.members(schema, properties, self._rules.spelling.key)
        return self._rules.add(f'"{{" {inside} "}}"')

    def members(
        self, schema: Mapping[str, JSONValue], properties: Mapping[str, JSONValue], key: Callable[[str], str]
    ) -> str:
        needed = schema.get("required")
        required = [name for name in properties if isinstance(needed, list) and name in needed]
        pairs = {name: self._rules.add(f"{key(name)} {self.rule(value)}") for name, value in properties.items()}
        must = [pairs[name] for name in required]
        may = [pair for name, pair in pairs.items() if name not in required]
        later = [f"({_COMMA}{pair})?" for pair in may]
        if must:
            return " ".join([f" {_COMMA}".join(must), *later])
        starts = [" ".join([pair, *later[at + 1 :]]) for at, pair in enumerate(may)]
        return f"({' | '.join(starts)})?"


def _count(value: JSONValue) -> int | None:
    """A number of letters or items; None where there is none, or too many to count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNTED else None
