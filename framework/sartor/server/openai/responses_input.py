"""What the items of a request say: the question, what was said before it, and results of the caller's tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sartor.server.failures import Failure
from sartor.server.openai.responses_request import (
    FunctionCallItem,
    FunctionCallOutputItem,
    ImagePart,
    Item,
    MessageItem,
    Part,
    TextPart,
)
from sartor.values import Exchange, JSONValue, ToolCall, ToolResult, ToolUse

__all__ = ["Said", "text_of", "what_was_said"]

_IMAGE = "[an image, which cannot be seen here]"
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Said:
    """What a request brings."""

    question: str
    """What the user says last; empty where only results of tools come."""
    history: tuple[Exchange, ...] = ()
    system: tuple[str, ...] = ()
    """Instructions that stand among the messages."""
    uses: tuple[tuple[ToolUse, ...], ...] = ()
    """Calls with their results that followed the question."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Results of calls that do not stand in the request, by the id of the call."""


def what_was_said(given: str | Sequence[Item] | None) -> Said:
    """Read the items in their order. Raises `Failure` 400 where they make no sense together."""
    if isinstance(given, str):
        return Said(given)
    transcript = _Transcript()
    for item in given or ():
        match item:
            case MessageItem():
                transcript.message(item)
            case FunctionCallItem():
                transcript.call(item)
            case FunctionCallOutputItem():
                transcript.output(item)
    return transcript.end()


def text_of(content: str | Sequence[Part]) -> str:
    """The text of a message or of a tool's result."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        match part:
            case TextPart():
                texts.append(part.text)
            case ImagePart():
                texts.append(_IMAGE)
            case _:
                texts.append(part.refusal)
    return "\n".join(texts)


class _Transcript:
    """The items that were read so far."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._history: list[Exchange] = []
        self._asked: list[str] = []
        self._replied: list[str] = []
        self._steps: list[dict[str, ToolUse]] = []
        self._open: dict[str, ToolCall] = {}
        self._answers: dict[str, str] = {}
        self._over = False
        """Whether the last thing said is a reply."""

    def message(self, item: MessageItem) -> None:
        text = text_of(item.content)
        if item.role in ("system", "developer"):
            self._system.append(text)
        elif item.role == "assistant":
            self._replied.append(text)
            self._over = True
        else:
            if self._replied:
                self._history.append(Exchange(_BETWEEN.join(self._asked), _BETWEEN.join(self._replied)))
                self._asked, self._replied, self._steps = [], [], []
            self._asked.append(text)
            self._over = False

    def call(self, item: FunctionCallItem) -> None:
        if not self._open:
            self._steps.append({})
        self._open[item.call_id] = ToolCall(item.call_id, item.name, _arguments(item))
        self._over = False

    def output(self, item: FunctionCallOutputItem) -> None:
        text = text_of(item.output)
        if (call := self._open.pop(item.call_id, None)) is not None:
            self._steps[-1][call.id] = ToolUse(call, ToolResult(call.id, call.name, text))
        else:
            self._answers[item.call_id] = text
        self._over = False

    def end(self) -> Said:
        for call in self._open:
            raise Failure(400, f"no output of the function call {call!r} is there", code="missing", param="input")
        if self._over:
            raise Failure(400, "the last message is a reply: there is nothing to answer", code="missing", param="input")
        return Said(
            _BETWEEN.join(self._asked),
            tuple(self._history),
            tuple(self._system),
            tuple(tuple(step.values()) for step in self._steps),
            self._answers,
        )


def _arguments(item: FunctionCallItem) -> dict[str, JSONValue]:
    """Raises `Failure` 400 for arguments that are no JSON object."""
    try:
        arguments = json.loads(item.arguments or "{}", parse_constant=_no_number)
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise _no_object(item) from error
    if not isinstance(arguments, dict):
        raise _no_object(item)
    return arguments


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _no_object(item: FunctionCallItem) -> Failure:
    what = f"the arguments of the function call {item.call_id!r} are no JSON object"
    return Failure(400, what, code="invalid_value", param="input")
