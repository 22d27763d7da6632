"""LangChain's messages and events, turned into ours and back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ChatMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from sartor.errors import ModelError

from sartor_plugins.llama.prompt import Called, Line
from sartor_plugins.llama.reply import Ended, Said
from sartor_plugins.llama.toolcalls import BrokenCall, Call, Event, Text

__all__ = ["chunk_of", "joined", "last_chunk", "lines_of", "public_text"]

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


def lines_of(messages: Sequence[BaseMessage]) -> tuple[Line, ...]:
    """`messages` as lines of a prompt. Raises `ModelError` for content that is no text."""
    names: dict[str, str] = {}
    lines = []
    for message in messages:
        role = message.role if isinstance(message, ChatMessage) else _ROLES.get(message.type, message.type)
        calls: tuple[Called, ...] = ()
        if isinstance(message, AIMessage):
            calls = tuple(Called(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls)
            names |= {call.id: call.name for call in calls}
        answered = message.tool_call_id if isinstance(message, ToolMessage) else ""
        tool = message.name or names.get(answered, "") if answered else ""
        lines.append(Line(role, _text(message), calls, answered, tool))
    if not lines:
        raise ModelError("the model was given no message")
    return tuple(lines)


def public_text(messages: Sequence[BaseMessage]) -> str:
    """With what the first message begins that is the same for every tenant, as its parts tell where Sartor made it."""
    parts = messages[0].additional_kwargs.get("sartor_parts", ())
    public = "".join(part.text for part in itertools.takewhile(lambda part: part.public, parts))
    return public if _text(messages[0]).startswith(public) else ""


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block.get("text"), str):
            parts.append(block["text"])
        elif block.get("type") not in ("tool_use", "tool_call", "reasoning", "thinking"):
            raise ModelError(f"this model reads text only, not {block.get('type', 'an unknown block')!r}")
    return "".join(parts)


def joined(events: Iterable[Said]) -> Iterator[Said]:
    """`events`, with pieces of text that follow one another as one: each chunk costs LangChain a tenth of a
    millisecond."""
    for text, several in itertools.groupby(events, key=lambda event: isinstance(event, Text)):
        if text:
            yield Text("".join(event.text for event in several if isinstance(event, Text)))
        else:
            yield from several


def chunk_of(event: Event, index: int) -> ChatGenerationChunk:
    """An event of a reply for LangChain. `index` counts the tool calls of the reply."""
    match event:
        case Text(text):
            return ChatGenerationChunk(message=AIMessageChunk(content=text), text=text)
        case Call(id, name, arguments):
            told = tool_call_chunk(name=name, args=arguments, id=id, index=index)
        case BrokenCall(text, reason):
            # LangChain repairs JSON that was cut off, so that a broken call would become a valid one with other
            # arguments. As a JSON string it stays broken: it arrives in `invalid_tool_calls`.
            told = tool_call_chunk(name=None, args=json.dumps(text), id=f"broken_{index}", index=index)
            message = AIMessageChunk(content="", tool_call_chunks=[told], response_metadata={"broken_call": reason})
            return ChatGenerationChunk(message=message)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[told]))


def last_chunk(ended: Ended, *, model: str, waited: float) -> ChatGenerationChunk:
    """The end of a reply for LangChain, with its usage."""
    usage = UsageMetadata(
        input_tokens=ended.prompt,
        output_tokens=ended.generated,
        total_tokens=ended.prompt + ended.generated,
        input_token_details=InputTokenDetails(cache_read=ended.cached),
    )
    told = {
        "finish_reason": ended.reason,
        "model_name": model,
        "queue_seconds": waited,
        "first_token_seconds": waited + ended.first,
        "drafted_tokens": ended.drafted,
        "accepted_draft_tokens": ended.accepted,
    }
    message = AIMessageChunk(content="", usage_metadata=usage, response_metadata=told, chunk_position="last")
    return ChatGenerationChunk(message=message)
