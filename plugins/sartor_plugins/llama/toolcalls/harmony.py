"""Harmony, the format of gpt-oss: a call is a message to a tool, in a channel of its own.

https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.schema import JSON_SPELLING, Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import Balance, CallFormat, Progress, function_of
from sartor_plugins.llama.toolcalls.json_calls import arguments_rule, loads

__all__ = ["HARMONY"]

_CHANNEL, _KIND, _MESSAGE = "<|channel|>", "<|constrain|>", "<|message|>"
_HEAD = f" {_KIND}json{_MESSAGE}"
_CALL = re.compile(
    rf"\s*([\w.-]+)\s*(?:{re.escape(_CHANNEL)}\s*\w+)?\s*(?:{re.escape(_KIND)})?\s*\w*\s*{re.escape(_MESSAGE)}(.*)",
    re.DOTALL,
)


class _Progress(Balance):
    """Brackets count behind the head."""

    def __init__(self) -> None:
        super().__init__('"')
        self._head: str | None = ""

    def take(self, char: str) -> None:
        if self._head is None:
            super().take(char)
            return
        self._head = (self._head + char)[-len(_MESSAGE) :]
        if self._head == _MESSAGE:
            self._head = None


@dataclass(frozen=True, slots=True)
class _Messages:
    """``NAME <|constrain|>json<|message|>{…}``"""

    spelling: Spelling = JSON_SPELLING
    marks: tuple[str, ...] = (_CHANNEL, _KIND, _MESSAGE)

    def spell(self, call: Called) -> str:
        return f"{call.name}{_HEAD}{json.dumps(dict(call.arguments), ensure_ascii=False)}"

    def progress(self) -> Progress:
        return _Progress()

    def parse(self, text: str) -> list[Written]:
        found = _CALL.fullmatch(text)
        if not found:
            raise ValueError(f"the call has no {_MESSAGE}")
        return [Written(found[1], loads(found[2]))]

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        channel, kind, message = literal(f"{_CHANNEL}commentary"), literal(_KIND), literal(_MESSAGE)
        head = rules.add(f'({channel})? " "? ({kind})? ("json" | "code")? {message}')
        calls = [
            rules.add(f"{literal(function_of(tool)[0])} {head} {arguments_rule(rules, tool, strict)}") for tool in tools
        ]
        return rules.add(" | ".join(calls))


_CALLS = CallFormat(f"{_CHANNEL}commentary to=functions.", "", _Messages())
HARMONY = replace(
    _CALLS,
    others=(
        replace(_CALLS, opening=f"{_CHANNEL}analysis to=functions."),
        replace(_CALLS, opening="to=functions.", early=True),
    ),
)
"""The name may stand before the channel, too."""
