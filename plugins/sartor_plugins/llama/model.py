"""A GGUF model in this process as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, PrivateAttr
from sartor.errors import ModelError, UsageError
from sartor.values import Choices, Workload

from sartor_plugins.llama.engine.crew import Limits
from sartor_plugins.llama.engine.engine import Engine
from sartor_plugins.llama.engine.jobs import AsyncOutbox, Job, Outbox, SyncOutbox
from sartor_plugins.llama.messages import chunk_of, joined, last_chunk, lines_of, public_text
from sartor_plugins.llama.remote import RemoteEngine
from sartor_plugins.llama.reply import Compared, Ended, Request, Said
from sartor_plugins.llama.runtime import load
from sartor_plugins.llama.sampling import Sampling
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.structured import reply_grammar
from sartor_plugins.llama.toolcalls import Text, function_of

__all__ = ["LlamaChatModel"]

_Job = Job[Request, Said]


class LlamaChatModel(BaseChatModel):
    """Loads its file with the first call or `start`, and answers many requests at once.

    Keyword arguments of a call: `choices` (`sartor.values.Choices`), `cache_scope` (who may profit from this
    prompt: the tenant's name), `max_tokens`, `temperature`, `top_p`, `seed`, `response_format` (as in OpenAI's API),
    `grammar` (GBNF), `share` (of the machine, beside other tenants); others are ignored.
    """

    supports_choices: ClassVar[bool] = True
    accepts_cache_scope: ClassVar[bool] = True
    accepts_share: ClassVar[bool] = True

    _settings: LlamaSettings = PrivateAttr()
    _engine: Engine[Request, Said] | RemoteEngine = PrivateAttr()

    def __init__(self, settings: LlamaSettings, directory: Path) -> None:
        super().__init__()
        self._settings = settings
        self._engine = _engine(settings, directory)

    async def start(self) -> None:
        """Load the model now. Raises `ModelError` when it cannot be."""
        await asyncio.to_thread(self._engine.start)

    async def close(self) -> None:
        """Finish what is queued and free the memory."""
        await asyncio.to_thread(self._engine.close)

    async def forget(self, tenant: str) -> None:
        """Give up everything that is kept of the tenant's conversations to answer faster."""
        await asyncio.to_thread(self._engine.forget, tenant)

    def check_format(self, response_format: object) -> None:
        """Raises `UsageError` for a `response_format` that no reply can have."""
        try:
            reply_grammar(None, response_format)
        except ModelError as error:
            raise UsageError(error.what, remedy=error.remedy) from error

    def workload(self) -> Workload:
        """How busy the engine is."""
        return self._engine.workload()

    async def compare(
        self, messages: Sequence[BaseMessage], options: Sequence[str], *, cache_scope: str = ""
    ) -> tuple[float, ...]:
        """The log-probability of each of `options` as the whole reply to `messages`.

        All are computed side by side over one prompt: for routing, and for models that judge. Raises `ModelError`.
        """
        if not options:
            raise ModelError("`compare` needs at least one option")
        request = Request(lines_of(messages), options=tuple(options), scope=cache_scope, public=public_text(messages))
        outbox: AsyncOutbox[Said] = AsyncOutbox()
        job = self._submit(request, outbox)
        try:
            while events := await outbox.take():
                for event in events:
                    if isinstance(event, Compared):
                        return event.scores
        finally:
            self._engine.cancel(job)
        raise ModelError("the model compared nothing")

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Replies as objects: by a forced tool call, or by a grammar made from the schema (``json_schema``) or of
        any JSON object (``json_mode``)."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        model = schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None
        told = schema if isinstance(schema, dict) else convert_to_json_schema(schema)
        wanted = {"type": "json_schema", "json_schema": {"name": told.get("title", "reply"), "schema": told}}
        bound = self.bind(response_format=wanted if method == "json_schema" else {"type": "json_object"}, **kwargs)
        parser: Runnable[Any, Any] = PydanticOutputParser(pydantic_object=model) if model else JsonOutputParser()
        if not include_raw:
            return bound | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        ).with_fallbacks([RunnablePassthrough.assign(parsed=lambda _: None)], exception_key="parsing_error")
        return RunnableMap(raw=bound) | parsed

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

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        settings = self._settings
        params = LangSmithParams(
            ls_provider="sartor",
            ls_model_name=Path(settings.path).name,
            ls_model_type="chat",
            ls_temperature=_or(kwargs.get("temperature"), settings.temperature),
            ls_max_tokens=_or(kwargs.get("max_tokens"), settings.max_tokens),
        )
        if stop:
            params["ls_stop"] = stop
        return params

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
        outbox: SyncOutbox[Said] = SyncOutbox()
        job = self._submit(self._request(messages, stop, kwargs), outbox)
        calls = 0
        try:
            while events := outbox.take():
                for event in joined(events):
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
        outbox: AsyncOutbox[Said] = AsyncOutbox()
        job = self._submit(self._request(messages, stop, kwargs), outbox)
        calls = 0
        try:
            while events := await outbox.take():
                for event in joined(events):
                    yield self._chunk(event, job, calls)
                    calls += not isinstance(event, Text)
        finally:
            self._engine.cancel(job)

    def _submit(self, request: Request, outbox: Outbox[Said]) -> _Job:
        settings = self._settings
        job: _Job = Job(
            request,
            outbox,
            tenant=request.scope,
            weight=request.share,
            adapter=request.adapter,
            seconds=settings.seconds,
        )
        self._engine.submit(job)
        return job

    def _chunk(self, event: Said, job: _Job, calls: int) -> ChatGenerationChunk:
        assert not isinstance(event, Compared)
        if isinstance(event, Ended):
            return last_chunk(event, model=Path(self._settings.path).name, waited=job.waited)
        return chunk_of(event, calls)

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, told: dict[str, Any]) -> Request:
        settings = self._settings
        tools, must_call = _tools(told.get("tools") or [], told.get("tool_choice"))
        choices = told.get("choices")
        tenant = told.get("cache_scope") or ""
        if choices is not None and not (isinstance(choices, Choices) and choices.texts):
            raise ModelError("`choices` must be sartor.values.Choices with at least one text")
        return Request(
            lines_of(messages),
            tools,
            must_call,
            choices,
            grammar=reply_grammar(told.get("grammar"), told.get("response_format")),
            sampling=Sampling(
                _or(told.get("temperature"), settings.temperature),
                _or(told.get("top_p"), settings.top_p),
                settings.min_p,
                settings.repeat_penalty,
                _or(told.get("seed"), settings.seed),
            ),
            max_tokens=max(1, int(_or(told.get("max_tokens"), settings.max_tokens))),
            stop=tuple(filter(None, stop or ())),
            scope=tenant,
            share=float(_or(told.get("share"), 1.0)),
            adapter=tenant if tenant in settings.adapters else "",
            public=public_text(messages),
        )


def _engine(settings: LlamaSettings, directory: Path) -> Engine[Request, Said] | RemoteEngine:
    name = f"llama:{Path(settings.path).name}"
    limits = Limits(settings.parallel, settings.queue, settings.idle_seconds, settings.speculation)
    if settings.isolation == "process":
        return RemoteEngine(settings, directory, name, limits)
    return Engine(lambda: load(settings, directory), name, limits)


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
