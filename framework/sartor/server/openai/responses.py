"""`/v1/responses`: OpenAI's Responses API, as the Open Responses specification describes it, on our turns."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from sartor.server.caller import Caller, KeyHolder
from sartor.server.failures import Failure, failure_of
from sartor.server.openai.responses_events import ResponseEvents
from sartor.server.openai.responses_objects import (
    FunctionCallObject,
    FunctionCallOutputObject,
    MessageObject,
    ResponseObject,
    begun,
    finished,
    input_items,
    refuses,
    restored,
)
from sartor.server.openai.responses_question import Asked, find_response, question_of, turn_of
from sartor.server.openai.responses_request import ResponseRequest
from sartor.server.openai.responses_run import ahead, reply_to, turn_events
from sartor.server.service import Service, service_of
from sartor.server.sse import EventStream, unless_gone
from sartor.values import Delta, Event, Finished, Outcome, Reply, Started

__all__ = ["router"]

router = APIRouter(tags=["responses"])

_STREAM: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The response, or with `stream` its events as they come.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class ItemList(BaseModel):
    """Items of a response."""

    object: Literal["list"] = "list"
    data: list[MessageObject | FunctionCallObject | FunctionCallOutputObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedObject(BaseModel):
    """A response that is found no more."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


@router.post("/v1/responses", response_model=ResponseObject, responses=_STREAM)
async def create(request: Request, asked: ResponseRequest, caller: KeyHolder) -> ResponseObject | Response:
    """Ask a bot. With `stream`, the answer is a stream of server-sent events."""
    service = service_of(request)
    it = await question_of(service, asked, caller)
    if not asked.stream:
        reply = await unless_gone(request, reply_to(service, it.question))
        return await _over(service, it, reply, caller, refused=refuses(reply, it.kept.echo))
    events = await unless_gone(request, ahead(turn_events(service, it.question)))
    return EventStream(_told(service, it, caller, events), stall_seconds=service.spec.stall_seconds)


@router.get("/v1/responses/{response_id}")
async def get(request: Request, response_id: str, caller: KeyHolder, stream: bool = False) -> ResponseObject:
    """A response that is over."""
    if stream:
        raise Failure(400, "a response that is over does not stream", code="unsupported_parameter", param="stream")
    store = service_of(request).bots.store.tenant(caller.tenant)
    [stored] = await find_response(store, response_id, caller)
    return restored(stored, caller)


@router.delete("/v1/responses/{response_id}")
async def delete(request: Request, response_id: str, caller: KeyHolder) -> DeletedObject:
    """Let a response be found no more, and go on from it no more. Its turn stays in the conversation."""
    store = service_of(request).bots.store.tenant(caller.tenant)
    await find_response(store, response_id, caller)
    await store.forget_response(turn_of(response_id))
    return DeletedObject(id=response_id)


@router.post("/v1/responses/{response_id}/cancel")
async def cancel(request: Request, response_id: str, caller: KeyHolder) -> ResponseObject:
    """Nothing runs in the background, so there is nothing to cancel: closing the connection stops a response."""
    store = service_of(request).bots.store.tenant(caller.tenant)
    await find_response(store, response_id, caller)
    raise Failure(400, "the response is over: to stop one, close its connection", code="not_cancellable")


@router.get("/v1/responses/{response_id}/input_items")
async def list_input_items(
    request: Request,
    response_id: str,
    caller: KeyHolder,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str, Query(max_length=200)] = "",
) -> ItemList:
    """What a response was given, as the policies let it pass."""
    store = service_of(request).bots.store.tenant(caller.tenant)
    found = await find_response(store, response_id, caller, 2)
    items = input_items(found[0], found[1] if len(found) > 1 else None)
    items = items if order == "asc" else items[::-1]
    if after:
        ids = [item.id for item in items]
        if after not in ids:
            raise Failure(400, "there is no such item", code="invalid_value", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return ItemList(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(items) > limit,
    )


async def _told(service: Service, it: Asked, caller: Caller, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    """The events of a turn as those of a response."""
    told: ResponseEvents | None = None
    formatted = "response_format" in it.question.options.model
    try:
        async with aclosing(events):
            async for event in events:
                match event:
                    case Started():
                        told = ResponseEvents(begun(event.turn, it.kept, it.previous), behind=formatted)
                        pieces = told.begin()
                    case Delta() if told is not None:
                        pieces = told.text(event.text)
                    case Finished() if told is not None:
                        refused = refuses(event.reply, it.kept.echo) and not told.opened
                        pieces = told.end(await _over(service, it, event.reply, caller, refused=refused))
                    case _:
                        continue
                for piece in pieces:
                    yield piece
    except Exception as error:
        failure = failure_of(error)
        if told is None:
            raise failure from error
        for piece in told.fail(failure):
            yield piece


async def _over(service: Service, it: Asked, reply: Reply, caller: Caller, *, refused: bool) -> ResponseObject:
    """The response to a turn that is over, which is stored where that is wanted."""
    cut = reply.cut and reply.outcome in (Outcome.ANSWERED, Outcome.UNKNOWN)
    kept = it.kept.model_copy(update={"cut": cut, "refused": refused})
    if kept.echo.store:
        store = service.bots.store.tenant(caller.tenant)
        await store.put_response(reply.turn.id, it.previous, kept.model_dump(mode="json"))
    return finished(reply, kept, it.previous, caller, time.time())
