"""Turns that belong to their request: they run while somebody waits for them, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from sartor.server.failures import Failure
from sartor.server.live import Question
from sartor.server.service import Service
from sartor.values import Event, Finished, Reply

__all__ = ["ahead", "reply_to", "turn_events"]

_FIRST_NEWS = 0.5
"""Seconds to wait for the first news of a turn before a stream begins: what is refused by then is still told by the
status of the response."""


async def turn_events(service: Service, question: Question) -> AsyncGenerator[Event]:
    """The events of a turn, which has one of the service's places. Raises what `LiveTurns.place`, `Bots` and
    `Bot.stream` do."""
    bot = service.bots[question.bot_id]
    with service.live.place(bot.info.tenant):
        stream = question.put_to(bot)
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    yield event
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Failure(503, "the turn was stopped", code="unavailable", headers={"Retry-After": "5"}) from None


async def reply_to(service: Service, question: Question) -> Reply:
    """What comes of a turn."""
    async with aclosing(turn_events(service, question)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event.reply
    raise AssertionError("a stream ends with Finished or raises")


async def ahead(events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """`events`, begun and watched for a moment: what it raises meanwhile is raised here, before the first is given."""
    first = await anext(events)
    second = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.wait({second}, timeout=_FIRST_NEWS)
        if second.done():
            second.result()
    except BaseException:
        await _end(second, events)
        raise
    return _again(first, second, events)


async def _again(
    first: Event, second: asyncio.Future[Event | None], events: AsyncGenerator[Event]
) -> AsyncGenerator[Event]:
    try:
        yield first
        if (event := await second) is not None:
            yield event
        async for event in events:
            yield event
    finally:
        await _end(second, events)


async def _end(second: asyncio.Future[Event | None], events: AsyncGenerator[Event]) -> None:
    second.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await second
    await events.aclose()
