"""A model behind an OpenAI-compatible server as a LangChain chat model."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr
from sartor.errors import ModelError
from sartor.values import Choices, JSONValue

from sartor_plugins.openai_model.choices import fits, grammar
from sartor_plugins.openai_model.connection import Connection
from sartor_plugins.openai_model.failures import broken
from sartor_plugins.openai_model.settings import OpenAISettings
from sartor_plugins.openai_model.wire import CallParts, Counted, Finish, Piece, events, read, tool_choice, wire_messages

__all__ = ["OpenAIChatModel"]

_PASSED = ("temperature", "top_p", "seed", "response_format")


class OpenAIChatModel(BaseChatModel):
    """Speaks through a server.

    Keyword arguments of a call: `max_tokens`, `temperature`, `top_p`, `seed`, `response_format`, `cache_scope`, and
    `choices` where the server takes grammars; nothing else is sent on.
    """

    accepts_cache_scope: ClassVar[bool] = True

    _settings: OpenAISettings = PrivateAttr()
    _connection: Connection = PrivateAttr()

    def __init__(self, settings: OpenAISettings, directory: Path) -> None:
        super().__init__()
        self._settings = settings
        self._connection = Connection(settings, directory)

    @property
    def supports_choices(self) -> bool:
        """Whether replies can be forced to be one of given texts: the setting `grammar`."""
        return self._settings.grammar

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with `tools`. `tool_choice`: ``auto``, ``none``, ``any``/``required``, or a tool's name."""
        described = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=described, tool_choice=tool_choice, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "sartor-openai"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self._settings.model}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async def once() -> ChatResult:
            try:
                return await self._agenerate(messages, stop, **kwargs)
            finally:
                await self.close()

        return _in_a_thread(once)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        choices: Choices | None = kwargs.get("choices") if self.supports_choices else None
        body = self._body(messages, stop, kwargs)
        stream = self._chunks(body) if choices is None else self._chosen(body, choices)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk, text=chunk.text)

    async def _chosen(self, body: dict[str, JSONValue], choices: Choices) -> AsyncGenerator[AIMessageChunk, None]:
        """A reply that is one of the texts. It is checked, hence held back until it is complete.

        Servers refuse a grammar beside tools. With tools, the model is asked freely first; when what it says is
        neither a call nor one of the texts, it is asked again without tools.
        """
        used: UsageMetadata | None = None
        if body.get("tools"):
            said = await self._whole(body)
            if said.tool_call_chunks or fits(said.text, choices):
                yield said
                return
            used = said.usage_metadata
        forced = {key: value for key, value in body.items() if key not in ("tools", "tool_choice", "stop")}
        longest = sum(sorted((len(text.encode()) + 1 for text in choices.texts), reverse=True)[: choices.at_most])
        field = self._settings.max_tokens_field
        said = await self._whole(forced | {"grammar": grammar(choices), field: longest + 8})
        if not fits(said.text, choices):
            raise ModelError(
                "the model's server did not keep to the grammar that it was sent",
                where=self._connection.url,
                remedy="Set `grammar: false` for servers that do not take GBNF grammars.",
            )
        yield said if used is None else said + AIMessageChunk(content="", usage_metadata=used)

    async def _whole(self, body: dict[str, JSONValue]) -> AIMessageChunk:
        whole = AIMessageChunk(content="")
        async with aclosing(self._chunks(body)) as chunks:
            async for chunk in chunks:
                whole = whole + chunk
        return whole

    async def _chunks(self, body: Mapping[str, JSONValue]) -> AsyncGenerator[AIMessageChunk, None]:
        calls = CallParts()
        counted: Counted | None = None
        reason = ""
        url = self._connection.url
        async with self._connection.post(body) as stream, aclosing(events(stream, url)) as told:
            async for event in told:
                for part in read(event, calls, url):
                    match part:
                        case Piece(text):
                            yield AIMessageChunk(content=text)
                        case Counted():
                            counted = part
                        case Finish(why):
                            reason = why
        if not reason:
            raise broken("it ended in the middle of the reply", url)
        for index, (call, good) in enumerate(calls.valid()):
            yield _call(call, index, good=good)
        yield AIMessageChunk(
            content="",
            usage_metadata=_usage(counted) if counted else None,
            response_metadata={"finish_reason": reason, "model_name": self._settings.model},
            chunk_position="last",
        )

    def _body(self, messages: list[BaseMessage], stop: list[str] | None, told: dict[str, Any]) -> dict[str, JSONValue]:
        settings = self._settings
        body: dict[str, JSONValue] = {
            "model": settings.model,
            "messages": wire_messages(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            settings.max_tokens_field: told.get("max_tokens") or settings.max_tokens,
        }
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        body |= {name: told[name] for name in _PASSED if told.get(name) is not None}
        if stop:
            body["stop"] = list(stop)
        if told.get("tools"):
            body["tools"] = told["tools"]
            if (choice := tool_choice(told.get("tool_choice"))) is not None:
                body["tool_choice"] = choice
        if settings.cache_salt and told.get("cache_scope"):
            body["cache_salt"] = self._connection.salt(told["cache_scope"])
        return body


def _call(call: Mapping[str, str], index: int, *, good: bool) -> AIMessageChunk:
    """A tool call for LangChain, which repairs JSON that was cut off, so that a broken call would become a valid
    one with other arguments. As a JSON string it stays broken, and arrives in `invalid_tool_calls`."""
    arguments = (call["arguments"] or "{}") if good else json.dumps(call["arguments"])
    id_ = call["id"] or f"call_{secrets.token_hex(8)}"
    told = tool_call_chunk(name=call["name"], args=arguments, id=id_, index=index)
    return AIMessageChunk(content="", tool_call_chunks=[told])


def _usage(counted: Counted) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=counted.prompt,
        output_tokens=counted.generated,
        total_tokens=counted.prompt + counted.generated,
        input_token_details=InputTokenDetails(cache_read=counted.cached),
    )


def _in_a_thread(work: Callable[[], Any]) -> ChatResult:
    """Run `work` in an event loop of its own, also where one is running already."""
    found: list[ChatResult | BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work()))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, name="openai-call")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]
