"""DeepSeek V3 and R1, with the distilled models: names and fenced JSON between marks."""

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
from sartor_plugins.llama.toolcalls.json_calls import arguments_rule

__all__ = ["DEEPSEEK", "DEEPSEEK_PLAIN"]

_BEGIN, _SEPARATOR, _END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_HEAD = re.compile(rf"\s*(?:{_BEGIN})?\s*(?:function{_SEPARATOR})?([^\s<{{]+)(?:{_SEPARATOR})?\s*(?:```json)?\s*")
_TAIL = re.compile(rf"\s*(?:```)?\s*(?:{_END})?\s*")


@dataclass(frozen=True, slots=True)
class SeparatedCalls:
    """``<｜tool▁call▁begin｜>function<｜tool▁sep｜>name`` and JSON; since V3.1 without ``function`` and the fence."""

    fenced: bool
    spelling: Spelling = JSON_SPELLING
    marks: tuple[str, ...] = (_BEGIN, _SEPARATOR, _END)

    def spell(self, call: Called) -> str:
        return self._around(call.name)[0] + json.dumps(dict(call.arguments), ensure_ascii=False) + self._around("")[1]

    def _around(self, name: str) -> tuple[str, str]:
        if self.fenced:
            return f"{_BEGIN}function{_SEPARATOR}{name}\n```json\n", f"\n```{_END}"
        return f"{_BEGIN}{name}{_SEPARATOR}", _END

    def progress(self) -> Progress:
        return Balance('"')

    def parse(self, text: str) -> list[Written]:
        found: list[Written] = []
        at = 0
        while at < len(text):
            head = _HEAD.match(text, at)
            if not head:
                raise ValueError(f"the call has no name at character {at}")
            try:
                arguments, at = json.JSONDecoder(strict=False, parse_constant=_refuse).raw_decode(text, head.end())
            except (ValueError, RecursionError) as error:
                raise ValueError(f"the call's arguments are no JSON: {error}") from error
            tail = _TAIL.match(text, at)
            at = tail.end() if tail else at
            found.append(Written(head[1], arguments))
        if not found:
            raise ValueError("the call is empty")
        return found

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        calls = []
        for tool in tools:
            before, after = self._around(function_of(tool)[0])
            calls.append(rules.add(f"{literal(before)} {arguments_rule(rules, tool, strict)} {literal(after)}"))
        call = rules.add(" | ".join(calls))
        return f'{call} ("\\n"? {call})*'


def _refuse(constant: str) -> JSONValue:
    raise ValueError(f"{constant} is no number")


DEEPSEEK = CallFormat("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", SeparatedCalls(fenced=True))
DEEPSEEK_PLAIN = CallFormat("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", SeparatedCalls(fenced=False))
