"""A GGUF model in this process as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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

from sartor_plugins.llama.engine.engine import Engine, Limits
from sartor_plugins.llama.engine.jobs import AsyncOutbox, Job, Outbox, SyncOutbox
from sartor_plugins.llama.messages import chunk_of, last_chunk, lines_of
from sartor_plugins.llama.reply import Ended, Request
from sartor_plugins.llama.runtime import load
from sartor_plugins.llama.sampling import Sampling
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.toolcalls import Event, Text, function_of

__all__ = ["LlamaChatModel"]

_Said = Event | Ended
_Job = Job[Request, _Said]


class LlamaChatModel(BaseChatModel):
    """Loads its file with the first call or `start`, and answers many requests at once.

    Keyword arguments of a call: `choices` (`sartor.values.Choices`), `cache_scope` (who may profit from this
    prompt: the tenant's name), `max_tokens`, `temperature`, `top_p`, `seed`; others are ignored.
    """

    supports_choices: ClassVar[bool] = True
    accepts_cache_scope: ClassVar[bool] = True

    _settings: LlamaSettings = PrivateAttr()
    _engine: Engine[Request, _Said] = PrivateAttr()

    def __init__(self, settings: LlamaSettings, directory: Path) -> None:
        super().__init__()
        self._settings = settings
        limits = Limits(settings.parallel, settings.queue, settings.idle_seconds, settings.speculation)
        self._engine = Engine(lambda: load(settings, directory), f"llama:{Path(settings.path).name}", limits)

    async def start(self) -> None:
        """Load the model now. Raises `ModelError` when it cannot be."""
        await asyncio.to_thread(self._engine.start)

    async def close(self) -> None:
        """Finish what is queued and free the memory."""
        await asyncio.to_thread(self._engine.close)

    async def forget(self, tenant: str) -> None:
        """Give up everything that is kept of the tenant's conversations to answer faster."""
        await asyncio.to_thread(self._engine.forget, tenant)

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
        outbox: SyncOutbox[_Said] = SyncOutbox()
        job = self._submit(self._request(messages, stop, kwargs), outbox)
        calls = 0
        try:
            while (event := outbox.take()) is not None:
                yield self._chunk(event, job, calls)
                calls += not isinstance(event, Text)
        finally:
            self._engine.cancel(job)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        outbox: AsyncOutbox[_Said] = AsyncOutbox()
        job = self._submit(self._request(messages, stop, kwargs), outbox)
        calls = 0
        try:
            while (event := await outbox.take()) is not None:
                yield self._chunk(event, job, calls)
                calls += not isinstance(event, Text)
        finally:
            self._engine.cancel(job)

    def _submit(self, request: Request, outbox: Outbox[_Said]) -> _Job:
        settings = self._settings
        job: _Job = Job(
            request,
            outbox,
            tenant=request.scope,
            weight=settings.weights.get(request.scope, 1.0),
            adapter=request.adapter,
            seconds=settings.seconds,
        )
        self._engine.submit(job)
        return job

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
            tenant if (tenant := told.get("cache_scope") or "") in settings.adapters else "",
        )


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
