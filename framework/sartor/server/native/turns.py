"""`/v1/turns`: say something to a bot, watch it answer, come back to it, stop it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from sartor.server.caller import Caller, CallerOf, SpeakerOf
from sartor.server.failures import Failure
from sartor.server.live import Approval, Decided, LiveTurn, Note, Question
from sartor.server.native.objects import TurnObject, turn_object
from sartor.server.native.repeats import fingerprint, first_of
from sartor.server.service import Service, service_of
from sartor.server.sse import EventStream, event_bytes, unless_gone
from sartor.store import StoredTurn
from sartor.values import Delta, Finished, Started, ToolFinished, ToolStarted, ToolWanted, TurnOptions

__all__ = ["router"]

router = APIRouter(tags=["turns"])

_STREAM: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The turn, or with `stream` its events as they come.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_EVENTS: dict[int | str, dict[str, object]] = {200: {**_STREAM[200], "description": "The events as they come."}}


class TurnRequest(BaseModel):
    """A message of a user."""

    model_config = ConfigDict(extra="forbid")

    bot: str = Field(default="", max_length=200)
    """``BOT`` or ``TENANT/BOT``; a session has its own."""
    text: str = Field(min_length=1, max_length=200_000)
    conversation: str = Field(default="", max_length=300)
    """To go on with an earlier conversation; empty: a new one."""
    user: str = Field(default="", max_length=300)
    """Who speaks, in the words of the host application; for holders of a key."""
    audience: str = Field(default="", max_length=63)
    """The kind of user; for holders of a key."""
    language: str = Field(default="", max_length=35)
    stream: bool = False
    keep: float = Field(default=0, ge=0, le=300)
    """Seconds for which the turn goes on when nobody listens any more."""


class CancelObject(BaseModel):
    """Whether there was a turn to stop."""

    cancelled: bool


@router.post("/v1/turns", response_model=TurnObject, responses=_STREAM)
async def create(
    request: Request,
    asked: TurnRequest,
    caller: CallerOf,
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> TurnObject | Response:
    """Say something to a bot. With `stream`, the answer is a stream of server-sent events."""
    service = service_of(request)
    speaker, question = _question(asked, caller)
    bot = service.bots[question.bot_id]
    began: LiveTurn | StoredTurn | None = None
    store, told = service.bots.store.tenant(caller.tenant), fingerprint(question)
    id_ = question.options.id
    if idempotency_key:
        longest = bot.spec.limits.turn_seconds
        began = await first_of(store, service.live, speaker.user, idempotency_key, told, id_, longest)
    if began is None:
        try:
            began = service.live.begin(id_, question, asked.keep)
        except BaseException:
            if idempotency_key:
                await store.forget_request(speaker.user, idempotency_key, id_)
            raise
        if idempotency_key:
            began.came_to_nothing = partial(store.forget_request, speaker.user, idempotency_key, id_)
    if asked.stream:
        return _stream(service, began, speaker)
    if isinstance(began, StoredTurn):
        return turn_object(began.reply, speaker)
    return turn_object(await unless_gone(request, began.outcome()), speaker)


@router.get("/v1/turns/{turn}")
async def get(request: Request, turn: str, speaker: SpeakerOf) -> TurnObject:
    """A turn, running or stored."""
    service = service_of(request)
    if (live := _running(service, turn, speaker)) is not None:
        return _unfinished(live)
    return turn_object(speaker.may_see(await service.bots.store.tenant(speaker.tenant).reply(turn)).reply, speaker)


@router.get("/v1/turns/{turn}/events", response_model=None, response_class=Response, responses=_EVENTS)
async def events(
    request: Request,
    turn: str,
    speaker: SpeakerOf,
    last_event_id: Annotated[str, Header(max_length=20)] = "",
) -> Response:
    """The events of a turn from behind `Last-Event-ID` on: as they come, or of a stored turn its end."""
    service = service_of(request)
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
    if (live := _running(service, turn, speaker)) is not None:
        return _stream(service, live, speaker, after)
    stored = speaker.may_see(await service.bots.store.tenant(speaker.tenant).reply(turn))
    return _stream(service, stored, speaker, after)


@router.post("/v1/turns/{turn}/cancel")
async def cancel(request: Request, turn: str, speaker: SpeakerOf) -> CancelObject:
    """Stop a turn that runs. What had been released is stored."""
    service = service_of(request)
    if (live := _running(service, turn, speaker.may_chat())) is not None:
        live.cancel()
        return CancelObject(cancelled=True)
    speaker.may_see(await service.bots.store.tenant(speaker.tenant).reply(turn))
    return CancelObject(cancelled=False)


def _question(asked: TurnRequest, caller: Caller) -> tuple[Caller, Question]:
    """In whose name what is asked."""
    if not asked.bot and not caller.bot:
        raise Failure(400, "which bot?", code="missing", param="bot")
    if asked.audience and caller.kind != "key":
        raise Failure(403, "a session has its own audience", code="audience_not_allowed", param="audience")
    speaker = caller.may_chat().speaks_as(asked.user)
    id_ = uuid.uuid4().hex
    return speaker, Question(
        bot_id=caller.bot_id(asked.bot or caller.bot),
        text=asked.text,
        user=speaker.user,
        conversation=asked.conversation,
        audience=asked.audience or speaker.audience,
        language=asked.language,
        attributes=speaker.attributes,
        options=TurnOptions(id=id_),
    )


def _running(service: Service, turn: str, caller: Caller) -> LiveTurn | None:
    """The turn of that id, where it runs here. Raises `Failure` 404 where it is not the caller's to see."""
    live = service.live.find(caller.tenant, turn)
    if live is not None and not caller.sees(live.question.bot_id.partition("/")[2], live.question.user):
        raise Failure(404, "there is no such turn", code="not_found")
    return live


def _unfinished(live: LiveTurn) -> TurnObject:
    question = live.question
    return TurnObject(
        id=live.id,
        conversation=_conversation(live),
        bot=question.bot_id,
        user=question.user,
        status="waiting" if live.approvals else "in_progress",
        text="".join(note.text for note in live.notes if isinstance(note, Delta)),
    )


def _conversation(live: LiveTurn) -> str:
    started = next((note.turn.conversation for note in live.notes if isinstance(note, Started)), "")
    return started or live.question.conversation


def _stream(service: Service, turn: LiveTurn | StoredTurn, caller: Caller, after: int = 0) -> EventStream:
    source = _of_stored(turn, caller, after) if isinstance(turn, StoredTurn) else _of_live(turn, caller, after)
    return EventStream(source, stall_seconds=service.spec.stall_seconds)


async def _of_live(live: LiveTurn, caller: Caller, after: int) -> AsyncGenerator[bytes]:
    async with aclosing(live.listen(after)) as notes:
        async for number, note in notes:
            name, data = _told(note, caller)
            yield event_bytes(data, name=name, id_=str(number))


async def _of_stored(stored: StoredTurn, caller: Caller, after: int) -> AsyncGenerator[bytes]:
    turn = stored.reply.turn
    if not after:
        yield event_bytes({"turn": turn.id, "conversation": turn.conversation}, name="turn", id_="1")
    name, data = _told(Finished(stored.reply), caller)
    yield event_bytes(data, name=name, id_=str(max(after, 1) + 1))


def _told(note: Note, caller: Caller) -> tuple[str, object]:
    """The name and the data of an event."""
    match note:
        case Started():
            told: tuple[str, object] = "turn", {"turn": note.turn.id, "conversation": note.turn.conversation}
        case Delta():
            told = "delta", {"text": note.text}
        case ToolStarted() | ToolWanted():
            told = "tool", {"id": note.call.id, "name": note.call.name, "state": "running"}
        case ToolFinished():
            state = "failed" if note.result.error else "done"
            told = "tool", {"id": note.result.call, "name": note.result.name, "state": state}
        case Approval():
            call, arguments = note.call, dict(note.call.arguments)
            told = "approval", {"id": call.id, "tool": call.name, "arguments": arguments, "reason": note.reason}
        case Decided():
            told = "approved", {"id": note.call, "approve": note.approve}
        case Finished():
            told = "finished", turn_object(note.reply, caller).model_dump(mode="json", exclude_none=True)
        case Failure():
            told = "error", note.body
    return told
