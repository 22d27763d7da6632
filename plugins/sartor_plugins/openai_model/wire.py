"""What goes over the wire: a request's body, and the stream that answers it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, ToolMessage
from sartor.errors import ModelError
from sartor.values import JSONValue

from sartor_plugins.openai_model.failures import broken

__all__ = ["CallParts", "Counted", "Finish", "Piece", "events", "read", "tool_choice", "wire_messages"]

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
_LONGEST = 8 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens that the server counted."""

    prompt: int
    cached: int
    generated: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the reply ended."""

    reason: str


@dataclass(slots=True)
class CallParts:
    """The tool calls of a reply, put together from their pieces."""

    calls: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, deltas: object) -> None:
        """Take the `tool_calls` of one delta."""
        for delta in deltas if isinstance(deltas, list) else []:
            if not isinstance(delta, dict):
                continue
            index = delta.get("index")
            call = self.calls.setdefault(
                index if isinstance(index, int) else len(self.calls), {"id": "", "name": "", "arguments": ""}
            )
            function = delta.get("function")
            function = function if isinstance(function, dict) else {}
            call["id"] = call["id"] or _text(delta.get("id"))
            call["name"] += _text(function.get("name"))
            call["arguments"] += _text(function.get("arguments"))

    def valid(self) -> Iterator[tuple[dict[str, str], bool]]:
        """Each call and whether its arguments are a JSON object."""
        for _, call in sorted(self.calls.items()):
            try:
                good = isinstance(json.loads(call["arguments"] or "{}"), dict)
            except (ValueError, RecursionError):
                good = False
            yield call, good and bool(call["name"])


def wire_messages(messages: Sequence[BaseMessage]) -> list[JSONValue]:
    """LangChain's messages in OpenAI's form."""
    out: list[JSONValue] = []
    for message in messages:
        role = message.role if isinstance(message, ChatMessage) else _ROLES.get(message.type, message.type)
        told: dict[str, JSONValue] = {"role": role, "content": _content(message)}
        if isinstance(message, AIMessage) and message.tool_calls:
            told["tool_calls"] = [
                {
                    "id": call["id"] or f"call_{at}",
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)},
                }
                for at, call in enumerate(message.tool_calls)
            ]
        if isinstance(message, ToolMessage):
            told["tool_call_id"] = message.tool_call_id
        out.append(told)
    return out


def _content(message: BaseMessage) -> JSONValue:
    if isinstance(message.content, str):
        return message.content
    blocks: list[JSONValue] = []
    for block in message.content:
        if isinstance(block, str):
            blocks.append({"type": "text", "text": block})
        elif block.get("type") in ("text", "image_url", "input_audio", "file"):
            blocks.append(block)
        elif block.get("type") not in ("tool_use", "tool_call", "reasoning", "thinking"):
            raise ModelError(f"content of the type {block.get('type')!r} cannot be sent to the model's server")
    return blocks


def tool_choice(choice: object) -> JSONValue:
    """LangChain's `tool_choice` in OpenAI's form; None to say nothing."""
    if choice in (None, False):
        return None
    if choice in (True, "any", "required"):
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none"):
        return {"type": "function", "function": {"name": choice}}
    return choice  # type: ignore[return-value]


async def events(chunks: AsyncIterator[bytes], url: str) -> AsyncGenerator[Mapping[str, JSONValue], None]:
    """The JSON objects of a stream of server-sent events, up to ``[DONE]`` or its end.

    Only ``\\n`` and ``\\r`` end a line: JSON may have other line separators in its texts. Raises `ModelError`
    for data that is no JSON object.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            raise broken("a line without an end", url)
        for line in lines:
            data = line.rstrip(b"\r")
            if not data.startswith(b"data:"):
                continue
            data = data[5:].strip()
            if data == b"[DONE]":
                return
            if data:
                yield _object(data, url)
    if rest.startswith(b"data:") and (data := rest[5:].strip()) != b"[DONE]":
        yield _object(data, url)


def _object(data: bytes, url: str) -> Mapping[str, JSONValue]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise broken(f"{data[:100]!r} is no JSON", url) from error
    if not isinstance(found, dict):
        raise broken(f"{data[:100]!r} is no JSON object", url)
    return found


def read(event: Mapping[str, JSONValue], calls: CallParts, url: str) -> Iterator[Piece | Counted | Finish]:
    """What one object of the stream says; pieces of tool calls go to `calls`."""
    if error := event.get("error"):
        reason = error.get("message") if isinstance(error, dict) else error
        raise ModelError(f"the model's server failed in the middle of the reply: {str(reason)[:300]}", where=url)
    if isinstance(usage := event.get("usage"), dict):
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        yield Counted(_number(usage.get("prompt_tokens")), _number(cached), _number(usage.get("completion_tokens")))
    choices = event.get("choices")
    for choice in choices[:1] if isinstance(choices, list) else []:
        if not isinstance(choice, dict):
            continue
        delta = choice.get("delta")
        if isinstance(delta, dict):
            calls.add(delta.get("tool_calls"))
            if text := _text(delta.get("content")):
                yield Piece(text)
        if reason := _text(choice.get("finish_reason")):
            yield Finish(reason)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
