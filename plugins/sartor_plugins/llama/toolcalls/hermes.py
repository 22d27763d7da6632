"""Hermes and Qwen: JSON between tags; Qwen's coders and Qwen 3.5: parameters between tags."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import JSON_SPELLING, Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import Balance, CallFormat, Progress, function_of
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls, loads

__all__ = ["HERMES", "QWEN_TAGS"]

HERMES = CallFormat("<tool_call>", "</tool_call>", JSONCalls())

_FUNCTION = re.compile(r"\s*<function=([^>\s]+)>(.*)</function>\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TaggedParameters:
    """``<function=name><parameter=key>value</parameter></function>``.

    A value is read as JSON where it is any, as text otherwise: the tags do not say which is meant, so a tool's text
    that looks like a number arrives as one. Text with these tags in it cannot be told from the tags.
    """

    spelling: Spelling = JSON_SPELLING
    marks: tuple[str, ...] = ()

    def spell(self, call: Called) -> str:
        told = "".join(
            f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n"
            "</parameter>\n"
            for key, value in call.arguments.items()
        )
        return f"\n<function={call.name}>\n{told}</function>\n"

    def progress(self) -> Progress:
        return Balance("")

    def parse(self, text: str) -> list[Written]:
        if text.lstrip().startswith("{"):
            return HERMES.notation.parse(text)
        function = _FUNCTION.fullmatch(text)
        if not function:
            raise ValueError("the call has no <function=…>")
        arguments: dict[str, JSONValue] = {}
        at = 0
        while parameter := _PARAMETER.match(function[2], at):
            arguments[parameter[1]] = _value(parameter[2])
            at = parameter.end()
        if function[2][at:].strip():
            raise ValueError("the call has something between its parameters")
        return [Written(function[1], arguments)]

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        calls = []
        for tool in tools:
            name, schema = function_of(tool)
            properties = schema.get("properties")
            keys = list(properties) if isinstance(properties, dict) else []
            needed = schema.get("required")
            pairs = [
                f'({literal(f"<parameter={key}>")} "\\n" [^<]* "</parameter>\\n")'
                + ("" if isinstance(needed, list) and key in needed else "?")
                for key in keys
            ]
            calls.append(rules.add(f'{literal(f"<function={name}>")} "\\n" {" ".join(pairs)} "</function>"'))
        return rules.add(" | ".join(calls))


def _value(text: str) -> JSONValue:
    try:
        return loads(text)
    except ValueError:
        return text


QWEN_TAGS = CallFormat("<tool_call>", "</tool_call>", TaggedParameters())
