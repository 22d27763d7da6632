"""LangChain at the rim: its messages, models, tools and retrievers turned into ours and back.

Only this module and `sartor.runnable` know LangChain's types, and the core imports them when the first model is
called, never earlier: `langchain_core` costs half a second.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langsmith import tracing_context

from sartor.errors import ModelError, SartorError
from sartor.tools import Tool
from sartor.values import NO_USAGE, Choices, JSONValue, Message, Passage, ToolCall, Turn, Usage

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["RetrieverAdapter", "Said", "as_tool", "say", "to_messages"]

_SILENT: RunnableConfig = {"callbacks": []}
"""Without it, the callbacks of a host's chain around the bot would be handed on to model, tools and retrievers."""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of what a model says: text, or at the end the tool calls that it wants and the tokens used."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = NO_USAGE
    cut: bool = False
    """Whether the model was stopped by its limit of tokens."""


def to_messages(messages: Sequence[Message]) -> list[BaseMessage]:
    """Our messages as LangChain's. The origins travel in ``additional_kwargs["sartor_parts"]``."""
    return [_to_message(message) for message in messages]


def _to_message(message: Message) -> BaseMessage:
    told: dict[str, object] = {"sartor_parts": message.parts}
    match message.role:
        case "system":
            return SystemMessage(message.text, additional_kwargs=told)
        case "user":
            return HumanMessage(message.text, additional_kwargs=told)
        case "tool":
            return ToolMessage(message.text, tool_call_id=message.call, additional_kwargs=told)
        case _:
            calls = [
                {"id": call.id, "name": call.name, "args": dict(call.arguments), "type": "tool_call"}
                for call in message.calls
            ]
            return AIMessage(message.text, tool_calls=calls, additional_kwargs=told)


async def say(
    model: BaseChatModel,
    messages: Sequence[Message],
    *,
    tools: Sequence[dict[str, JSONValue]] = (),
    tool_choice: str = "auto",
    choices: Choices | None = None,
    asked: Mapping[str, JSONValue],
    tenant: str,
    share: float = 1.0,
) -> AsyncGenerator[Said]:
    """What `model` says to `messages`, piece by piece; the last piece has the tool calls and the usage.

    `asked` is what the model is asked for beside the messages: ``max_tokens`` and the like. Raises `ModelError`
    whatever the model raised. Closing the iterator closes the model's stream.
    """
    options: dict[str, object] = dict(asked)
    if getattr(model, "accepts_cache_scope", False):
        options["cache_scope"] = tenant
    if getattr(model, "accepts_share", False):
        options["share"] = share
    if choices is not None and getattr(model, "supports_choices", False):
        options["choices"] = choices
    speaker: Runnable[LanguageModelInput, AIMessage] = model
    rest: AIMessageChunk | None = None
    cut = False
    try:
        with _untraced():
            if tools:
                forced = {} if tool_choice == "auto" else {"tool_choice": tool_choice}
                speaker = model.bind_tools(tools, **forced)
            async for chunk in speaker.astream(to_messages(messages), _SILENT, **options):
                if not isinstance(chunk, AIMessageChunk):
                    raise TypeError(f"the model gave a {type(chunk).__name__}, not an AIMessageChunk")
                if chunk.tool_call_chunks or chunk.usage_metadata:
                    rest = chunk if rest is None else rest + chunk
                cut = cut or chunk.response_metadata.get("finish_reason") == "length"
                if text := chunk.text if isinstance(chunk.text, str) else str(chunk.content):
                    yield Said(text)
    except SartorError:
        raise
    except NotImplementedError as error:
        what = "take tools" if tools else "stream or answer"
        raise ModelError(f"the model {type(model).__name__} cannot {what}") from error
    except Exception as error:
        raise ModelError(f"the model failed: {type(error).__name__}: {error}") from error
    yield Said(calls=_calls(rest), usage=_usage(rest), cut=cut)


def _calls(chunk: AIMessageChunk | None) -> tuple[ToolCall, ...]:
    if chunk is None:
        return ()
    good = [
        ToolCall(call["id"] or f"call_{at}", call["name"], call["args"]) for at, call in enumerate(chunk.tool_calls)
    ]
    bad = [
        ToolCall(call["id"] or f"call_bad_{at}", call["name"] or "", {"": call["args"] or ""})
        for at, call in enumerate(chunk.invalid_tool_calls)
    ]
    return (*good, *bad)


def _usage(chunk: AIMessageChunk | None) -> Usage:
    counted = chunk.usage_metadata if chunk is not None else None
    if not counted:
        return Usage(calls=1)
    cached = counted.get("input_token_details", {}).get("cache_read", 0)
    return Usage(counted["input_tokens"], cached, counted["output_tokens"], 1)


def _untraced() -> AbstractContextManager[object]:
    """Keep ``LANGSMITH_TRACING`` in a host's environment from sending conversations out."""
    return cast("AbstractContextManager[object]", tracing_context(enabled=False))


def as_tool(given: BaseTool) -> Tool:
    """A LangChain tool as ours. It counts as one that acts unless its `metadata` says ``{"acts": False}``."""

    acts = bool((given.metadata or {}).get("acts", True))

    async def run(**arguments: JSONValue) -> object:
        with _untraced():
            return await given.ainvoke(arguments, _SILENT)

    return Tool(given.name, given.description, run, cast("type[BaseModel]", given.tool_call_schema), acts=acts)


class RetrieverAdapter:
    """A LangChain retriever as ours. Its documents belong to the tenant for whom it was built."""

    def __init__(self, given: BaseRetriever, tenant: str, name: str) -> None:
        self._given = given
        self._tenant = tenant
        self._name = name

    async def retrieve(self, turn: Turn, query: str, limit: int) -> Sequence[Passage]:
        with _untraced():
            documents = await self._given.ainvoke(f"{turn.before} {query}".strip(), _SILENT)
        return [
            Passage(
                id=document.id or f"{self._name}:{at}",
                tenant=self._tenant,
                source=str(document.metadata.get("source", self._name)),
                title=str(document.metadata.get("title", "")),
                text=document.page_content,
                score=float(document.metadata.get("score", 1.0 / (1 + at))),
            )
            for at, document in enumerate(documents[:limit])
        ]
