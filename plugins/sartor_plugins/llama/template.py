"""A model's chat template: messages to the pieces of a prompt."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence

from jinja2 import meta
from sartor.errors import ModelError
from sartor.values import JSONValue

from sartor_plugins.llama.prompt import (
    Called,
    Line,
    Veil,
    calls_apart,
    merged_system,
    plain_tools,
    short_id,
    told_tools,
)
from sartor_plugins.llama.templating import Sandbox, TemplateExhausted, TemplateRefused
from sartor_plugins.llama.thoughts import marks_of
from sartor_plugins.llama.vocabulary import Piece

__all__ = ["CHATML", "ChatTemplate"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For models without a template whose vocabulary has its control tokens."""


_THINKS = {"enable_thinking": True, "thinking": True, "thinking_mode": "enabled"}
_THINKS_NOT = {
    "enable_thinking": False,
    "thinking": False,
    "thinking_mode": "disabled",
    "thinking_budget": 0,
    "skip_thinking": True,
}
"""What templates ask, each in its own words."""


class _Mine(threading.local):
    """What the rendering of this thread hides."""

    veil: Veil | None = None


class ChatTemplate:
    """Renders messages. Text of a message can never become part of the template's own text.

    Many templates refuse something: a system message, two messages of one role in a row, several calls, tool
    messages. What such a template raises on, or silently leaves out, is tried again in plainer forms: the system
    message before the first user's; each call in a message of its own; then calls and results as text, neighbours of
    one role joined. Tools that a template does not show are described in the system message.
    """

    def __init__(self, source: str, *, start: str, end: str, spell: Callable[[Called], str], example: str) -> None:
        """`start` and `end` are the spellings of the tokens that the template calls `bos_token` and `eos_token`;
        `spell` writes a call as the model would, `example` shows the model how to.

        Raises `ModelError` when the template is broken.
        """
        self._start, self._end, self._spell, self._example = start, end, spell, example
        self._mine = _Mine()
        self._sandbox = Sandbox(self._to_json)
        try:
            self._template = self._sandbox.read(source)
        except TemplateRefused as error:
            raise ModelError(
                f"the model's chat template is broken: {error}", remedy="Set `template` to a file of your own."
            ) from error
        self.thoughts = marks_of(source)
        """How the model marks what it thinks."""
        self._knows_tools = "tools" in meta.find_undeclared_variables(self._sandbox.parse(source))

    @functools.cached_property
    def begins_thoughts(self) -> bool:
        """Whether a prompt may end in a thought that the template has begun."""
        try:
            pieces = self.render([Line("user", "Hi")], thinks=True)
        except ModelError:
            return False
        return self.thoughts.begun(pieces[-1].text) is not None

    def render(
        self, lines: Sequence[Line], tools: Sequence[JSONValue] = (), *, thinks: bool = False, calls: bool = True
    ) -> list[Piece]:
        """The prompt up to where the assistant's reply begins, or, if it `thinks`, what it thinks before; `calls`:
        whether it may call one of `tools` instead. Raises `ModelError` when no form of it renders."""
        problem: Exception | None = None
        for variant, given in self._variants(lines, tools):
            try:
                pieces = self._render(variant, given, thinks)
                if pieces and not thinks:
                    last = pieces[-1].text
                    ending = self.thoughts.ending(last, calls=calls and bool(tools))
                    pieces[-1] = Piece(last + ending, trusted=True)
            except TemplateExhausted as error:
                problem = error
                break
            except Exception as error:
                problem = error
                continue
            if pieces is not None:
                return pieces
        reason = f": {problem}" if problem else ", but leaves out messages"
        raise ModelError(
            f"the model's chat template does not render this conversation{reason}",
            remedy="Set `template` to a Jinja file that does.",
        ) from problem

    def _variants(
        self, lines: Sequence[Line], tools: Sequence[JSONValue]
    ) -> Iterator[tuple[Sequence[Line], Sequence[JSONValue]]]:
        if self._knows_tools or not tools:
            yield lines, tools
            yield merged_system(lines), tools
            if any(line.calls for line in lines):
                yield calls_apart(lines), tools
        if tools:
            lines = told_tools(lines, tools, self._example)
            yield lines, ()
            yield merged_system(lines), ()
        yield plain_tools(lines, self._spell), ()
        yield plain_tools(merged_system(lines), self._spell), ()

    def _render(self, lines: Sequence[Line], tools: Sequence[JSONValue], thinks: bool) -> list[Piece] | None:
        veil = self._mine.veil = Veil()
        values = {
            "messages": [_message(line, veil) for line in lines],
            "tools": [_tool(tool, veil) for tool in tools] or None,
            "add_generation_prompt": True,
            "bos_token": self._start,
            "eos_token": self._end,
            **(_THINKS if thinks else _THINKS_NOT),
            **({"reasoning_effort": "low"} if self.thoughts.lead and not thinks else {}),
        }
        return veil.split(self._sandbox.render(self._template, values))

    def _to_json(self, value: object, indent: int | None) -> str:
        assert self._mine.veil is not None
        return self._mine.veil.to_json(value, indent)


def _message(line: Line, veil: Veil) -> dict[str, object]:
    told: dict[str, object] = {"role": line.role, "content": veil.hide(line.text, must=True)}
    if line.calls:
        told["tool_calls"] = [
            {
                "id": short_id(call.id),
                "type": "function",
                "function": {
                    "name": veil.hide(call.name, must=True),
                    "arguments": veil.hide_all(dict(call.arguments)),
                },
            }
            for call in line.calls
        ]
    if line.role == "tool":
        told |= {"tool_call_id": short_id(line.call), "name": veil.hide(line.tool)}
    return told


def _tool(tool: JSONValue, veil: Veil) -> JSONValue:
    """A tool whose texts are hidden; a template that does not show its name does not know tools."""
    hidden = veil.hide_all(tool)
    if isinstance(tool, dict) and isinstance(hidden, dict) and isinstance(tool.get("function"), dict):
        function, told = hidden["function"], tool["function"]
        if isinstance(function, dict) and isinstance(told, dict):
            function["name"] = veil.hide(str(told.get("name", "")), must=True)
    return hidden
