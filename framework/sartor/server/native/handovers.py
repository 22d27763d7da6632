"""`/v1/handovers`: conversations that a person has, for the people's own programs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from sartor.errors import NamingError
from sartor.handover.desk import Desk
from sartor.server.caller import Caller, needs
from sartor.server.failures import Failure
from sartor.server.native.conversations import After, Limit, TurnPage, turns_of
from sartor.server.native.objects import TurnObject, turn_object
from sartor.server.service import service_of
from sartor.values import HandOver

__all__ = ["router"]

router = APIRouter(tags=["handovers"])

People = Annotated[Caller, Depends(needs("people"))]


class WordRequest(BaseModel):
    """What a person says to the user."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=20_000)
    by: str = Field(min_length=1, max_length=200)
    """The name that the user is shown."""


class ReleaseRequest(BaseModel):
    """Who gives the conversation back."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=200)


class HandOverObject(BaseModel):
    """A conversation that a person has, or had."""

    object: Literal["handover"] = "handover"
    id: str
    conversation: str
    bot: str
    user: str
    reason: str
    """Why a person was called."""
    summary: str
    """What was said and done until then, in the words that were used. Much of it is what the user wrote."""
    since: datetime
    taken_by: str
    """Who spoke to the user first; empty: nobody did yet."""
    released: datetime | None
    """When the bot was given the conversation back."""


class HandOverList(BaseModel):
    """All that wait or are with a person, the oldest first."""

    object: Literal["list"] = "list"
    data: list[HandOverObject]


@router.get("/v1/handovers")
async def list_handovers(request: Request, caller: People) -> HandOverList:
    """The tenant's conversations that people have."""
    return HandOverList(data=[_object(one) for one in await _desk(request, caller).open()])


@router.get("/v1/handovers/{handover}")
async def get(request: Request, handover: str, caller: People) -> HandOverObject:
    """One of them, released or not, with its summary."""
    return _object(await _found(request, handover, caller))


@router.get("/v1/handovers/{handover}/turns")
async def list_turns(request: Request, handover: str, caller: People, limit: Limit = 50, after: After = "") -> TurnPage:
    """The turns of its conversation, the oldest first."""
    there = await _found(request, handover, caller)
    row = await service_of(request).bots.store.tenant(caller.tenant).conversation(there.conversation)
    if row is None:
        raise _missing()
    return await turns_of(request, row, caller, limit, after)


@router.post("/v1/handovers/{handover}/messages", status_code=201)
async def say(request: Request, handover: str, asked: WordRequest, caller: People) -> TurnObject:
    """Say something to the user."""
    await _waiting(request, handover, caller)
    return turn_object(await _desk(request, caller).say(handover, asked.text, by=asked.by), caller)


@router.post("/v1/handovers/{handover}/release")
async def release(request: Request, handover: str, asked: ReleaseRequest, caller: People) -> HandOverObject:
    """Give the conversation back to the bot."""
    await _waiting(request, handover, caller)
    return _object(await _desk(request, caller).release(handover, by=asked.by))


def _desk(request: Request, caller: Caller) -> Desk:
    return Desk(service_of(request).bots, caller.tenant)


async def _found(request: Request, handover: str, caller: Caller) -> HandOver:
    """The tenant's hand-over. Raises `Failure` 404, in the same words for another tenant's."""
    try:
        return await _desk(request, caller).get(handover)
    except NamingError as error:
        raise _missing() from error


async def _waiting(request: Request, handover: str, caller: Caller) -> None:
    """Raises `Failure` 404, and 409 where the bot has the conversation again."""
    if (await _found(request, handover, caller)).released is not None:
        raise Failure(409, "the bot has the conversation again", code="released")


def _missing() -> Failure:
    return Failure(404, "there is no such hand-over", code="not_found")


def _object(there: HandOver) -> HandOverObject:
    return HandOverObject(
        id=there.id,
        conversation=there.conversation,
        bot=f"{there.tenant}/{there.bot}",
        user=there.user,
        reason=there.reason,
        summary=there.summary,
        since=there.since,
        taken_by=there.taken_by,
        released=there.released,
    )
