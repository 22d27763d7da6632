"""`/v1/chat/completions`: a turn with a bot, for OpenAI's clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from sartor.bot import Bot
from sartor.server.caller import Caller, KeyHolder
from sartor.server.failures import Failure, failure_of
from sartor.server.live import Question
from sartor.server.openai.asking import question_of
from sartor.server.openai.chunks import Chunks
from sartor.server.openai.completion import ChatCompletion, completion, failed
from sartor.server.openai.request import ChatRequest, refuse_unsupported
from sartor.server.service import Service, service_of
from sartor.server.sse import EventStream, event_bytes, unless_gone
from sartor.values import Delta, Event, Finished, ToolCall, ToolStarted, ToolWanted

__all__ = ["router"]

router = APIRouter(tags=["openai"])

_STREAM: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The answer, or with `stream` its chunks as they come.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=_STREAM)
async def create(request: Request, asked: ChatRequest, caller: KeyHolder) -> Response:
    """Let a bot answer. With `stream`, the answer comes in chunks as server-sent events."""
    service = service_of(request)
    refuse_unsupported(asked)
    bot, question = await question_of(service, caller, asked)
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        chunks = Chunks(question.options.id, question.bot_id, int(time.time()), usage=usage)
        source = _streamed(service, bot, question, caller, chunks)
        first = await unless_gone(request, _first(source))
        return EventStream(source, stall_seconds=service.spec.stall_seconds, first=first)
    made = await unless_gone(request, _whole(service, bot, question, caller))
    return JSONResponse(made.told())


async def _first(source: AsyncGenerator[bytes]) -> bytes:
    return await anext(source)


async def _whole(service: Service, bot: Bot, question: Question, caller: Caller) -> ChatCompletion:
    created, calls = int(time.time()), list[ToolCall]()
    async with aclosing(_events(service, bot, question)) as events:
        async for event in events:
            if isinstance(event, ToolWanted):
                calls.append(event.call)
            if isinstance(event, Finished):
                return completion(event.reply, calls, question.bot_id, created, caller)
    raise AssertionError("a turn ends with Finished or raises")


async def _streamed(
    service: Service, bot: Bot, question: Question, caller: Caller, chunks: Chunks
) -> AsyncGenerator[bytes]:
    """The chunks of the answer. What goes wrong before the first is raised, afterwards it is an event."""
    try:
        events = _events(service, bot, question)
        async with aclosing(events), aclosing(_pieces(events, chunks, caller)) as pieces:
            async for piece in pieces:
                yield piece
    except Exception as error:
        if not chunks.begun:
            raise
        yield event_bytes(failure_of(error).body)


async def _pieces(events: AsyncGenerator[Event], chunks: Chunks, caller: Caller) -> AsyncGenerator[bytes]:
    """Chunks for events. The bot's own closing text and tool calls wait for the outcome: until then the turn may
    fail."""
    calls: list[ToolCall] = []
    closing = ""
    async for event in events:
        match event:
            case Delta(closing=True):
                closing = event.text
            case Delta():
                yield chunks.text(event.text)
            case ToolStarted() if not chunks.begun:
                yield chunks.begin()
            case ToolWanted():
                calls.append(event.call)
            case Finished():
                if (failure := failed(event.reply)) is not None:
                    raise failure
                if closing:
                    yield chunks.text(closing)
                for piece in chunks.calls(calls):
                    yield piece
                yield chunks.end(event.reply, caller)


async def _events(service: Service, bot: Bot, question: Question) -> AsyncGenerator[Event]:
    """The events of the turn, in a place for one. Raises `Failure` where there is none, and where the bot is closed
    meanwhile."""
    with service.live.place(bot.info.tenant):
        try:
            async with aclosing(question.put_to(bot)) as events:
                async for event in events:
                    yield event
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Failure(
                503, "the service is about to stop", code="unavailable", headers={"Retry-After": "5"}
            ) from None
