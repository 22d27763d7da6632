"""Gemma: fenced Python where the template shows nothing (up to 3), its own notation with marks (4, FunctionGemma)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import KNOWN_NAME, Balance, CallFormat, Progress, function_of
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls, loads
from sartor_plugins.llama.toolcalls.python_calls import PythonCalls

__all__ = ["BARE", "FENCES", "FUNCTION_GEMMA", "GEMMA", "GEMMA_4"]

_LINES = PythonCalls(several=False, around="\n")
_NAMED = ('"name"', ":", f'"{KNOWN_NAME}"')

FENCES = (
    CallFormat("```tool_call", "```", JSONCalls(around="\n")),
    CallFormat("```json", "```", JSONCalls(around="\n"), start=("```json", "{", *_NAMED)),
    CallFormat("```json", "```", JSONCalls(around="\n"), start=("```json", "[", "{", *_NAMED)),
)
"""Any fence called after tools; one of JSON only where it begins with the name of a tool that there is."""

BARE = (
    CallFormat("{", "", JSONCalls(), bare=True, start=("{", *_NAMED), again="{"),
    CallFormat("[", "", JSONCalls(several=True), bare=True, start=("[", "{", *_NAMED)),
    CallFormat("[", "", PythonCalls(), bare=True, start=("[", KNOWN_NAME, "(")),
)
"""Without any mark: at the start of a reply, with the name of a tool that there is."""

GEMMA = CallFormat("```tool_code", "```", _LINES, others=(*FENCES, *BARE))


@dataclass(frozen=True, slots=True)
class MarkedCalls:
    """``call:name{key:<mark>text<mark>,other:1}``: keys bare, texts between marks, without escapes."""

    mark: str

    @property
    def marks(self) -> tuple[str, ...]:
        return (self.mark,)

    @property
    def spelling(self) -> Spelling:
        quote = literal(self.mark)
        return Spelling(
            base={
                "char": "[^<]",
                "string": f"{quote} char* {quote}",
                "key": "[a-zA-Z_] [a-zA-Z0-9_]{0,63}",
                "pair": 'key ":" value',
                "sp": '""',
            },
            key=lambda name: literal(f"{name}:"),
            value=lambda value: literal(self._literal(value)),
            quotes=(quote, quote),
        )

    def spell(self, call: Called) -> str:
        return f"call:{call.name}{self._literal(dict(call.arguments))}"

    def progress(self) -> Progress:
        return _MarkedProgress(self.mark)

    def parse(self, text: str) -> list[Written]:
        found = re.fullmatch(r"\s*call:([^\s{]+)\s*(\{.*\})\s*", text, re.DOTALL)
        if not found:
            raise ValueError("the call is not of the form call:name{…}")
        parts = found[2].split(self.mark)
        told = [
            json.dumps(part, ensure_ascii=False)
            if number % 2
            else re.sub(r"([{,]\s*)([A-Za-z_][\w.\-]*)\s*:", r'\1"\2":', part)
            for number, part in enumerate(parts)
        ]
        return [Written(found[1], loads("".join(told)))]

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        calls = []
        for tool in tools:
            name, schema = function_of(tool)
            arguments = rules.members(schema, self.spelling.key) if strict else '(pair ("," pair)*)?'
            calls.append(rules.add(f'{literal(f"call:{name}{{")} {arguments} "}}"'))
        return rules.add(" | ".join(calls))

    def _literal(self, value: JSONValue) -> str:
        if isinstance(value, str):
            return f"{self.mark}{value}{self.mark}"
        if isinstance(value, Mapping):
            return "{" + ",".join(f"{key}:{self._literal(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ",".join(map(self._literal, value)) + "]"
        return json.dumps(value)


class _MarkedProgress:
    def __init__(self, mark: str) -> None:
        self.quoted = False
        self._mark = mark
        self._tail = ""
        self._balance = Balance("")

    @property
    def whole(self) -> bool:
        return self._balance.whole

    def take(self, char: str) -> None:
        self._tail = (self._tail + char)[-len(self._mark) :]
        if self._tail == self._mark:
            self.quoted = not self.quoted
            self._tail = ""
        elif not self.quoted:
            self._balance.take(char)


GEMMA_4 = CallFormat("<|tool_call>", "<tool_call|>", MarkedCalls('<|"|>'))
FUNCTION_GEMMA = CallFormat("<start_function_call>", "<end_function_call>", MarkedCalls("<escape>"))
