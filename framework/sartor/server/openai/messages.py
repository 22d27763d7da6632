"""The messages of a chat request, taken apart into what a turn is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sartor.server.failures import Failure
from sartor.server.openai.request import CallSpec, ChatMessage
from sartor.values import Exchange, JSONValue, ToolCall, ToolResult, ToolUse

__all__ = ["Talk", "read_messages"]


@dataclass(frozen=True, slots=True)
class Talk:
    """What was said: the last message of the user, and what stands around it."""

    text: str
    instructions: tuple[str, ...] = ()
    history: tuple[Exchange, ...] = ()
    uses: tuple[tuple[ToolUse, ...], ...] = ()
    """Tool calls after the user's last message, with their results: one tuple for each answer."""


def read_messages(messages: Sequence[ChatMessage], most: int) -> Talk:
    """`messages` as a turn. Raises `Failure` 400 for an order that makes no sense, and for parts that are no text."""
    if len(messages) > most:
        raise _bad(f"there are {len(messages)} messages; at most {most} are taken", "messages", "too_many_messages")
    texts = [_text(message, f"messages.{at}") for at, message in enumerate(messages)]
    spoken = [at for at, message in enumerate(messages) if message.role not in ("system", "developer")]
    users = [at for at in spoken if messages[at].role == "user"]
    if not users:
        raise _bad("a message of the user is missing", "messages")
    last = users[-1]
    before, after = [at for at in spoken if at <= last], [at for at in spoken if at > last]
    *history, asked = _exchanges(messages, texts, before)
    return Talk(
        text=asked.question,
        instructions=tuple(text for at, text in enumerate(texts) if at not in spoken and text.strip()),
        history=tuple(exchange for exchange in history if exchange.reply),
        uses=_steps(messages, texts, after),
    )


def _exchanges(messages: Sequence[ChatMessage], texts: Sequence[str], places: Sequence[int]) -> list[Exchange]:
    """Questions with their replies; messages of one side that follow each other count as one. Tools that were used
    on the way are left out, as in a stored conversation."""
    found = [Exchange("", "")]
    for at in places:
        role, text = messages[at].role, texts[at]
        last = found[-1]
        if role == "user" and last.reply:
            found.append(Exchange(text, ""))
        elif role == "user":
            found[-1] = Exchange(_joined(last.question, text), "")
        elif role == "assistant":
            found[-1] = Exchange(last.question, _joined(last.reply, text))
    return found


def _steps(
    messages: Sequence[ChatMessage], texts: Sequence[str], places: Sequence[int]
) -> tuple[tuple[ToolUse, ...], ...]:
    """Each answer that wanted tools, with all of its results."""
    steps: list[tuple[ToolUse, ...]] = []
    left = list(places)
    while left:
        at = left.pop(0)
        message, place = messages[at], f"messages.{at}"
        if message.role == "tool":
            raise _bad("a tool's message must follow the tool calls that it answers", place)
        if not message.tool_calls:
            raise _bad("the last message must be the user's, or the result of a tool", place)
        results: dict[str, str] = {}
        while left and messages[left[0]].role == "tool":
            answered = left.pop(0)
            results[messages[answered].tool_call_id or ""] = texts[answered]
        calls = {call.id: call for call in message.tool_calls}
        if calls.keys() != results.keys():
            what = "each of the tool calls must be answered by one message of the role `tool` with its tool_call_id"
            raise _bad(what, place)
        steps.append(tuple(_use(call, results[id_]) for id_, call in calls.items()))
    return tuple(steps)


def _use(call: CallSpec, result: str) -> ToolUse:
    name = _clean(call.function.name)
    arguments = _arguments(_clean(call.function.arguments))
    return ToolUse(ToolCall(_clean(call.id), name, arguments), ToolResult(_clean(call.id), name, result))


def _arguments(text: str) -> dict[str, JSONValue]:
    """The arguments of a call. What is no JSON object is kept as text, as where a model wrote it."""
    try:
        found = json.loads(text or "{}", parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return {"": text}
    return found if isinstance(found, dict) else {"": text}


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _text(message: ChatMessage, place: str) -> str:
    if isinstance(message.content, str):
        return _clean(message.content)
    for at, part in enumerate(message.content or ()):
        if part.type not in ("text", "refusal"):
            what = f"this server reads text only, and this is {part.type[:40]!r}"
            raise _bad(what, f"{place}.content.{at}", "unsupported_content")
    pieces = [part.text or part.refusal or "" for part in message.content or ()]
    return _clean("\n".join(filter(None, pieces)) or message.refusal or "")


def _joined(first: str, second: str) -> str:
    return "\n\n".join(filter(None, (first, second)))


def _clean(text: str) -> str:
    return text.replace("\0", "")


def _bad(what: str, place: str, code: str = "invalid_value") -> Failure:
    return Failure(400, f"{place}: {what}", code=code, param=place)
