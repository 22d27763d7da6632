"""A GGUF model in this process as a LangChain chat model."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr
from sartor.errors import ModelError
from sartor.values import Choices

from sartor_plugins.llama.messages import chunk_of, last_chunk, lines_of
from sartor_plugins.llama.owner import Job, Owner
from sartor_plugins.llama.reply import Ended, Request
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.sampling import Sampling
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.toolcalls import Event, Text, function_of

__all__ = ["LlamaChatModel"]

_Given = Event | Ended | BaseException | None
_Job = Job[Runtime, Event | Ended]


class LlamaChatModel(BaseChatModel):
    """Loads its file with the first call or `start`, and answers one request after another.

    Keyword arguments of a call: `choices` (`sartor.values.Choices`), `cache_scope` (who may profit from this
    prompt: the tenant's name), `max_tokens`, `temperature`, `top_p`, `seed`; others are ignored.
    """

    supports_choices: ClassVar[bool] = True
    accepts_cache_scope: ClassVar[bool] = True

    _settings: LlamaSettings = PrivateAttr()
    _owner: Owner[Runtime, Event | Ended] = PrivateAttr()

    def __init__(self, settings: LlamaSettings, directory: Path) -> None:
        super().__init__()
        self._settings = settings
        self._owner = Owner(lambda: load(settings, directory), f"llama:{Path(settings.path).name}")

    async def start(self) -> None:
        """Load the model now. Raises `ModelError` when it cannot be."""
        async for _ in self._events(_nothing):
            pass

    async def close(self) -> None:
        """Finish what is queued and free the memory."""
        await asyncio.to_thread(self._owner.close)

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
    def suggested_prior(self) -> float:
        """What `grounding.prior` is where a bot does not say: shared words count much beside the built-in model's
        judgement (measured on `training/eval`), as much as usual beside any other's."""
        return 6.0 if self._settings.path == "builtin" else 1.0

    @property
    def _llm_type(self) -> str:
        return "sartor-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self._settings.path}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        given: queue.SimpleQueue[_Given] = queue.SimpleQueue()
        job: _Job = Job(lambda runtime: runtime.speak(request), given.put)
        self._owner.submit(job)
        calls = 0
        try:
            while (event := _checked(given.get())) is not None:
                yield self._chunk(event, job, calls)
                calls += not isinstance(event, Text)
        finally:
            self._owner.cancel(job)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        calls = 0
        async with contextlib.aclosing(self._events(lambda runtime: runtime.speak(request))) as events:
            async for event, job in events:
                yield self._chunk(event, job, calls)
                calls += not isinstance(event, Text)

    async def _events(
        self, work: Callable[[Runtime], Generator[Event | Ended, None, None]]
    ) -> AsyncGenerator[tuple[Event | Ended, _Job], None]:
        loop = asyncio.get_running_loop()
        given: asyncio.Queue[_Given] = asyncio.Queue()

        def deliver(event: _Given) -> None:
            try:
                loop.call_soon_threadsafe(given.put_nowait, event)
            except RuntimeError:  # the loop is closed: nobody is left to hear it
                job.cancelled.set()

        job: _Job = Job(work, deliver)
        self._owner.submit(job)
        try:
            while (event := _checked(await given.get())) is not None:
                yield event, job
        finally:
            self._owner.cancel(job)

    def _chunk(self, event: Event | Ended, job: _Job, calls: int) -> ChatGenerationChunk:
        if isinstance(event, Ended):
            return last_chunk(event, model=Path(self._settings.path).name, waited=job.waited)
        return chunk_of(event, calls)

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, told: dict[str, Any]) -> Request:
        settings = self._settings
        tools, must_call = _tools(told.get("tools") or [], told.get("tool_choice"))
        choices = told.get("choices")
        if choices is not None and not (isinstance(choices, Choices) and choices.texts):
            raise ModelError("`choices` must be sartor.values.Choices with at least one text")
        return Request(
            lines_of(messages),
            tools,
            must_call,
            choices,
            Sampling(
                _or(told.get("temperature"), settings.temperature),
                _or(told.get("top_p"), settings.top_p),
                settings.min_p,
                settings.repeat_penalty,
                _or(told.get("seed"), settings.seed),
            ),
            max(1, int(_or(told.get("max_tokens"), settings.max_tokens))),
            tuple(filter(None, stop or ())),
            told.get("cache_scope") or "",
        )


def _nothing(_runtime: Runtime) -> Generator[Event | Ended, None, None]:
    yield from ()


def _checked(given: _Given) -> Event | Ended | None:
    if isinstance(given, BaseException):
        raise given
    return given


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


def _tools(tools: Sequence[dict[str, Any]], choice: object) -> tuple[tuple[dict[str, Any], ...], bool]:
    """The tools that may be called, and whether one must be."""
    if not tools or choice == "none":
        return (), False
    if choice in (None, False, "auto"):
        return tuple(tools), False
    if choice in (True, "any", "required"):
        return tuple(tools), True
    name = function_of(choice)[0] if isinstance(choice, dict) else choice
    named = tuple(tool for tool in tools if function_of(tool)[0] == name)
    if not named:
        raise ModelError(f"tool_choice names {name!r}, which is not among the tools")
    return named, True
