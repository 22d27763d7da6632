"""Grammars for tool calls: what a model writes inside one is forced to fit the tools' JSON Schemas."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Sequence

import numpy as np
from llama_cpp.llama_grammar import json_schema_to_gbnf
from sartor.values import JSONValue

from sartor_plugins.llama.native import Row, lib
from sartor_plugins.llama.toolcalls import CallFormat, function_of
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Grammar", "call_grammar"]

_NOTES = {"title", "description", "examples", "default", "deprecated", "$schema", "$id"}
_MAPS = {"properties", "$defs", "definitions", "patternProperties"}


class Grammar:
    """A grammar at one place of a reply. Free it with `close`."""

    def __init__(self, vocabulary: Vocabulary, source: str) -> None:
        """Raises `ValueError` when llama.cpp does not understand `source`."""
        self._size = vocabulary.size
        self._sampler = lib.llama_sampler_init_grammar(vocabulary.pointer, source.encode(), b"root")
        if not self._sampler:
            raise ValueError("llama.cpp does not understand the grammar")

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
            self._sampler = None

    def allows(self, token: int) -> bool:
        """Whether `token` may follow."""
        return bool(np.isfinite(self._applied(np.array([token]), np.zeros(1, np.float32))[0]))

    def mask(self, row: Row) -> Row:
        """`row` with every token that may not follow at minus infinity."""
        return self._applied(np.arange(self._size), row)

    def accept(self, token: int) -> None:
        """Go on past `token`, which must be allowed: the library aborts the process otherwise."""
        lib.llama_sampler_accept(self._sampler, token)

    def _applied(self, tokens: np.typing.NDArray[np.int64], row: Row) -> Row:
        data = np.zeros(len(tokens), dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        data["id"], data["logit"] = tokens, row
        pointer = data.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(data=pointer, size=len(tokens), selected=-1, sorted=False)
        lib.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return np.asarray(data["logit"])


def call_grammar(form: CallFormat, tools: Sequence[JSONValue], *, strict: bool = True) -> str:
    """GBNF of what follows a call's opening. `strict`: arguments fit the schemas; else any JSON object.

    Raises `ValueError` for schemas that cannot be expressed.
    """
    defined: dict[str, JSONValue] = {}
    calls: list[JSONValue] = []
    for number, tool in enumerate(tools):
        name, schema = function_of(tool)
        prefix = f"t{number}-"
        found = schema.get("$defs")
        for key, value in (found if isinstance(found, dict) else {}).items():
            defined[prefix + key] = _plain(value, prefix)
        bare = {key: value for key, value in schema.items() if key != "$defs"}
        arguments: JSONValue = {"type": "object"}
        if strict:
            arguments = _plain({"type": "object", "properties": {}, **bare}, prefix)
        properties: JSONValue = {"name": {"const": name}, form.arguments: arguments}
        calls.append({"type": "object", "properties": properties, "required": ["name", form.arguments]})
    schema_text = json.dumps({"oneOf": calls, "$defs": defined} if strict else {"oneOf": calls})
    try:
        rules = json_schema_to_gbnf(schema_text)
    except Exception as error:
        raise ValueError(f"a tool's schema cannot be made a grammar: {error}") from error
    rules = re.sub(r"^root ::= ", "call ::= ", rules, flags=re.MULTILINE)
    rules = re.sub(r"^space ::= .*$", 'space ::= ("" | " " | "\\\\n")', rules, flags=re.MULTILINE)
    body = '"[" space call ("," space call)* "]"' if form.several else "call"
    space = "" if form.bare else "space "
    closing = f" {json.dumps(form.closing)}" if form.closing else ""
    return f"root ::= {space}{body}{closing}\n{rules}"


def _plain(schema: JSONValue, prefix: str) -> JSONValue:
    """`schema` without what only people read, and with its references renamed."""
    if isinstance(schema, list):
        return [_plain(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, JSONValue] = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            out[key] = {name: _plain(item, prefix) for name, item in value.items()}
        elif key == "$ref":
            out[key] = str(value).replace("#/$defs/", f"#/$defs/{prefix}")
        elif key in ("enum", "const"):
            out[key] = value
        elif key not in _NOTES:
            out[key] = _plain(value, prefix)
    return out
