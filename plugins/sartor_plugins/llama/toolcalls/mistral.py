"""Mistral: a JSON list after a mark, or since 2025 a name, perhaps an id, and the arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.values import JSONValue

from sartor_plugins.llama.prompt import Called, short_id
from sartor_plugins.llama.schema import JSON_SPELLING, Rules, Spelling, literal
from sartor_plugins.llama.toolcalls.events import Written
from sartor_plugins.llama.toolcalls.form import Balance, CallFormat, Progress, function_of
from sartor_plugins.llama.toolcalls.json_calls import JSONCalls, arguments_rule, loads

__all__ = ["MISTRAL", "MISTRAL_LIST", "MISTRAL_WITH_IDS"]

_OPENING = "[TOOL_CALLS]"
_ID, _ARGS = "[CALL_ID]", "[ARGS]"
_LONGEST = 200
_CALL = re.compile(r"\s*([^\s\[\]{}]+)\s*(?:\[CALL_ID\]\s*\w*\s*)?\[ARGS\](.*)", re.DOTALL)


class _NamedProgress(Balance):
    """Brackets count from the arguments on; before them, only a list's or an object's own do."""

    def __init__(self) -> None:
        super().__init__('"')
        self._head: str | None = ""

    def take(self, char: str) -> None:
        if self._head is None:
            super().take(char)
            return
        self._head = (self._head + char).lstrip()[-_LONGEST:]
        if self._head.endswith(_ARGS):
            self._head = None
        elif self._head[:1] == "{" or (self._head[:1] == "[" and not _ID.startswith(self._head[: len(_ID)])):
            head, self._head = self._head, None
            for each in head:
                super().take(each)


@dataclass(frozen=True, slots=True)
class NamedCalls:
    """``name[ARGS]{…}``; reads JSON lists as well."""

    ids: bool = False
    """Whether ``[CALL_ID]…`` stands between."""
    spelling: Spelling = JSON_SPELLING
    marks: tuple[str, ...] = (_ID, _ARGS)

    def spell(self, call: Called) -> str:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        return f"{call.name}{f'{_ID}{short_id(call.id)}' if self.ids else ''}{_ARGS}{arguments}"

    def progress(self) -> Progress:
        return _NamedProgress()

    def parse(self, text: str) -> list[Written]:
        if text.lstrip()[:1] in ("[", "{"):
            return JSONCalls().parse(text)
        found = _CALL.fullmatch(text)
        if not found:
            raise ValueError(f"the call has no {_ARGS}")
        return [Written(found[1], loads(found[2]))]

    def grammar(self, rules: Rules, tools: Sequence[JSONValue], strict: bool) -> str:
        between = f"{literal(_ID)} [a-zA-Z0-9]{{9}} {literal(_ARGS)}" if self.ids else literal(_ARGS)
        calls = [
            rules.add(f"{literal(function_of(tool)[0])} {between} {arguments_rule(rules, tool, strict)}")
            for tool in tools
        ]
        call = rules.add(" | ".join(calls))
        return f"{call} ({literal(_OPENING)} {call})*"


MISTRAL_LIST = CallFormat(_OPENING, "", JSONCalls(several=True))
MISTRAL = CallFormat(_OPENING, "", NamedCalls())
MISTRAL_WITH_IDS = CallFormat(_OPENING, "", NamedCalls(ids=True))
