"""A chat model that answers by rules: what the user wrote decides what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from langchain_core.messages import BaseMessage

from sartor.testing.script import Call
from sartor.testing.scripted import Line, ScriptedModel

__all__ = ["Rule", "RuleModel"]


@dataclass(frozen=True)
class Rule:
    """Where `pattern` is found in the user's last message (in letters of either case), the model says `line`.

    In a text, and in the texts among a call's arguments, ``{name}`` stands for the group of that name.
    """

    pattern: str
    line: str | Call


class RuleModel(ScriptedModel):
    """Says the line of the first of `rules` that fits the user's last message; after a tool's result, the result.

    Its script is only for what `rules` do not say: a call that no rule fits takes the next line of it.
    """

    rules: list[Rule] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "rules"

    def _next(self, messages: Sequence[BaseMessage]) -> Line:
        if messages and messages[-1].type == "tool":
            return messages[-1].text
        asked = next((message.text for message in reversed(messages) if message.type == "human"), "")
        for rule in self.rules:
            if found := re.search(rule.pattern, asked, re.IGNORECASE):
                return _filled(rule.line, found)
        if not self.left:
            self._wrong(f"no rule fits {asked!r}")
        return super()._next(messages)


def _filled(line: str | Call, found: re.Match[str]) -> str | Call:
    fill = partial(
        re.sub, r"\{(\w+)\}", lambda name: found[name[1]] or "" if name[1] in found.re.groupindex else name[0]
    )
    if isinstance(line, str):
        return fill(line)
    told = {name: fill(value) if isinstance(value, str) else value for name, value in line.arguments.items()}
    return Call(line.name, told)
