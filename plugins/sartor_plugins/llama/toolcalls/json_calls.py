"""Calls as JSON: ``{"name": …, "arguments": {…}}``, or a list of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import JSON_SPELLING, Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import Balance, Progress, function_of

__all__ = ["JSONCalls", "arguments_rule", "loads"]


@dataclass(frozen=True, slots=True)
class JSONCalls:
    """Reads ``arguments`` and ``parameters``, one call or a list; writes as its fields say."""

    arguments: str = "arguments"
    several: bool = False
    """Whether calls stand in a list."""
    around: str = ""
    """A line break that the models put before and after."""
    spelling: Spelling = JSON_SPELLING
    marks: tuple[str, ...] = ()

    def spell(self, call: Called) -> str:
        told = json.dumps({"name": call.name, self.arguments: dict(call.arguments)}, ensure_ascii=False)
        return f"{self.around}{f'[{told}]' if self.several else told}{self.around}"

    def progress(self) -> Progress:
        return Balance('"')

    def parse(self, text: str) -> list[Written]:
        told = loads(text)
        calls = told if isinstance(told, list) and told else [told]
        return [_written(call) for call in calls]

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        calls = []
        for tool in tools:
            name = literal(json.dumps(function_of(tool)[0], ensure_ascii=False))
            key = literal(json.dumps(self.arguments))
            arguments = arguments_rule(rules, tool, strict)
            calls.append(rules.add(f'"{{" "\\"name\\":" sp {name} "," sp {key} ":" sp {arguments} "}}"'))
        call = rules.add(" | ".join(calls))
        return f'"[" {call} ("," sp {call})* "]"' if self.several else call


def arguments_rule(rules: Rules, tool: JSONValue, strict: bool) -> str:
    """The rule of a tool's arguments as one object."""
    full: JSONValue = {"type": "object", "properties": {}, **function_of(tool)[1]}
    return rules.schema(full) if strict else "object"


def loads(text: str) -> JSONValue:
    """JSON as models write it: line breaks inside strings are taken. Raises `ValueError`."""
    try:
        told: JSONValue = json.loads(text, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the call is no JSON: {error}") from error
    return told


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _written(told: JSONValue) -> Written:
    if not isinstance(told, Mapping):
        return Written(None, told)
    inner = told.get("function")  # OpenAI's own form
    call = inner if isinstance(inner, Mapping) and "name" not in told else told
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):  # as OpenAI's interface has them
        with contextlib.suppress(ValueError):
            arguments = loads(arguments)
    return Written(call.get("name"), arguments)
