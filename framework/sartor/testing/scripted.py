"""A chat model that plays a script. It fails loudly when the script is over, and records what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

__all__ = ["Call", "Line", "ScriptedModel"]


@dataclass(frozen=True)
class Call:
    """A tool call, as a line of a script."""

    name: str
    arguments: dict[str, object] = field(default_factory=dict)


Line = str | Call | Sequence[Call] | BaseException | Callable[[Sequence[BaseMessage]], str]
"""One answer of a script: a text, tool calls, an error to raise, or a function of the messages."""


class ScriptedModel(BaseChatModel):
    """Says the lines of `script`, one a call, in pieces of `piece` characters.

    `prompts` holds the messages of each call, `options` its keyword arguments. Raises `AssertionError` when it is
    called more often than the script has lines, or a scripted tool was not bound.
    """

    script: list[Line]
    piece: int = 8
    delay: float = 0.0
    """Seconds before each piece."""
    supports_choices: bool = False
    accepts_cache_scope: bool = True
    accepts_share: bool = True
    model_config = {"arbitrary_types_allowed": True}  # noqa: RUF012

    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _options: list[dict[str, object]] = PrivateAttr(default_factory=list)
    _calls: int = PrivateAttr(default=0)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        return self._prompts

    @property
    def options(self) -> list[dict[str, object]]:
        return self._options

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[object], *, tool_choice: str | None = None, **kwargs: object
    ) -> Runnable[LanguageModelInput, AIMessage]:
        bound = [convert_to_openai_tool(tool) for tool in tools]  # type: ignore[arg-type]
        return self.bind(tools=bound, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        whole: AIMessageChunk | None = None
        for chunk in self._chunks(messages, kwargs):
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        message = AIMessage(whole.text, tool_calls=whole.tool_calls, usage_metadata=whole.usage_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            if self.delay:
                await asyncio.sleep(self.delay)
            yield ChatGenerationChunk(message=chunk)

    def _chunks(self, messages: list[BaseMessage], options: dict[str, object]) -> list[AIMessageChunk]:
        self._prompts.append(messages)
        self._options.append(options)
        assert self._calls < len(self.script), (
            f"the script has {len(self.script)} lines, and the model was called again"
        )
        line = self.script[self._calls]
        self._calls += 1
        if isinstance(line, BaseException):
            raise line
        if callable(line):
            line = line(messages)
        prompt = sum(len(str(message.content).split()) for message in messages)
        if isinstance(line, str):
            chunks = [AIMessageChunk(content=line[at : at + self.piece]) for at in range(0, len(line), self.piece)] or [
                AIMessageChunk(content="")
            ]
            generated = len(line.split())
        else:
            chunks = [self._call_chunk([line] if isinstance(line, Call) else line, options)]
            generated = 1
        usage = {"input_tokens": prompt, "output_tokens": generated, "total_tokens": prompt + generated}
        return [*chunks, AIMessageChunk(content="", usage_metadata=usage)]  # type: ignore[arg-type]

    def _call_chunk(self, calls: Sequence[Call], options: dict[str, object]) -> AIMessageChunk:
        tools = options.get("tools")
        bound = {tool["function"]["name"] for tool in tools} if isinstance(tools, list) else set()
        for call in calls:
            assert call.name in bound, f"the script calls {call.name!r}, but the bound tools are {sorted(bound)}"
        return AIMessageChunk(
            content="",
            tool_call_chunks=[
                tool_call_chunk(
                    name=call.name, args=json.dumps(call.arguments), id=f"call_{self._calls}_{at}", index=at
                )
                for at, call in enumerate(calls)
            ],
        )
