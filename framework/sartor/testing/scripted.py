"""A chat model that plays a script. It fails loudly when the script is over, and records what it was asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, PrivateAttr

from sartor.testing.fits import misfits
from sartor.testing.script import Call, Fail, Say

__all__ = ["Call", "Line", "ScriptedModel"]


Line = str | Say | Call | Sequence[Call] | Fail | BaseException | Callable[[Sequence[BaseMessage]], "Line"]
"""One answer of a script: a text, tool calls, an error to raise, or a function of the messages that gives one."""


class ScriptedModel(BaseChatModel):
    """Says the lines of `script`, one a call, in pieces of `piece` characters.

    `prompts` holds the messages of each call, `options` its keyword arguments. Raises `AssertionError` when it is
    called more often than the script has lines, when a scripted tool was not bound, or when its arguments do not fit
    the tool's schema. Since a bot turns an error of its model into a reply, `faults` keeps them, too.
    """

    script: list[Line] = []  # noqa: RUF012
    model: str = "scripted"
    piece: int = 8
    delay: float = 0.0
    """Seconds before each piece."""
    check_arguments: bool = True
    """Whether scripted arguments must fit the schemas of the bound tools."""
    supports_choices: bool = False
    accepts_cache_scope: bool = True
    accepts_share: bool = True
    model_config = ConfigDict(arbitrary_types_allowed=True)

    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _options: list[dict[str, object]] = PrivateAttr(default_factory=list)
    _faults: list[str] = PrivateAttr(default_factory=list)
    _calls: int = PrivateAttr(default=0)
    _delays: dict[int, float] = PrivateAttr(default_factory=dict)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        """The messages of each call."""
        return self._prompts

    @property
    def options(self) -> list[dict[str, object]]:
        """The keyword arguments of each call."""
        return self._options

    @property
    def faults(self) -> list[str]:
        """What was wrong with the script."""
        return self._faults

    @property
    def left(self) -> int:
        """How many lines were not said yet."""
        return len(self.script) - self._calls

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[object], *, tool_choice: str | None = None, **kwargs: object
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Only tools that were bound may stand in the script."""
        bound = [convert_to_openai_tool(tool) for tool in tools]  # type: ignore[arg-type]
        forced = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=bound, **forced, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        whole: AIMessageChunk | None = None
        for chunk in self._chunks(messages, kwargs):
            time.sleep(self._delays.pop(id(chunk), self.delay))
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        message = AIMessage(whole.text, tool_calls=whole.tool_calls, usage_metadata=whole.usage_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            time.sleep(self._delays.pop(id(chunk), self.delay))
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            if delay := self._delays.pop(id(chunk), self.delay):
                await asyncio.sleep(delay)
            yield ChatGenerationChunk(message=chunk)

    def _next(self, messages: Sequence[BaseMessage]) -> Line:
        """The next line of the script."""
        if self._calls >= len(self.script):
            self._wrong(f"the script has {len(self.script)} lines, and the model was called again")
        self._calls += 1
        return self.script[self._calls - 1]

    def _chunks(self, messages: list[BaseMessage], options: dict[str, object]) -> Iterable[AIMessageChunk]:
        """The pieces of the next line."""
        self._prompts.append(messages)
        self._options.append(options)
        line = self._next(messages)
        while callable(line) and not isinstance(line, BaseException):
            line = line(messages)
        if isinstance(line, BaseException):
            raise line
        prompt = sum(len(str(message.content).split()) for message in messages)
        if isinstance(line, Fail):
            return self._failing(line)
        if isinstance(line, str | Say):
            return self._said(Say(line) if isinstance(line, str) else line, prompt)
        return [self._call_chunk([line] if isinstance(line, Call) else line, options), _usage(prompt, 1, 0)]

    def _failing(self, line: Fail) -> Iterator[AIMessageChunk]:
        yield from (AIMessageChunk(content=piece) for piece in self._pieces(line.after))
        raise RuntimeError(line.message)

    def _said(self, line: Say, prompt: int) -> Iterator[AIMessageChunk]:
        for piece in self._pieces(line.text) or [""]:
            chunk = AIMessageChunk(content=piece)
            if line.delay is not None:
                self._delays[id(chunk)] = line.delay
            yield chunk
        yield _usage(*(line.usage or (prompt, len(line.text.split()), 0)))

    def _pieces(self, text: str) -> list[str]:
        return [text[at : at + self.piece] for at in range(0, len(text), self.piece)]

    def _call_chunk(self, calls: Sequence[Call], options: dict[str, object]) -> AIMessageChunk:
        tools = options.get("tools")
        bound = {tool["function"]["name"]: tool["function"] for tool in tools} if isinstance(tools, list) else {}
        for call in calls:
            if call.name not in bound:
                self._wrong(f"the script calls {call.name!r}, but the bound tools are {sorted(bound)}")
            wrong = list(misfits(dict(call.arguments), bound[call.name].get("parameters")))
            if wrong and self.check_arguments:
                self._wrong(f"the script calls {call.name!r} with arguments that it does not take: {'; '.join(wrong)}")
        return AIMessageChunk(
            content="",
            tool_call_chunks=[
                tool_call_chunk(
                    name=call.name, args=json.dumps(dict(call.arguments)), id=f"call_{self._calls}_{at}", index=at
                )
                for at, call in enumerate(calls)
            ],
        )

    def _wrong(self, what: str) -> None:
        self._faults.append(what)
        raise AssertionError(what)


def _usage(prompt: int, generated: int, cached: int) -> AIMessageChunk:
    usage = UsageMetadata(input_tokens=prompt, output_tokens=generated, total_tokens=prompt + generated)
    if cached:
        usage["input_token_details"] = {"cache_read": cached}
    return AIMessageChunk(content="", usage_metadata=usage)
