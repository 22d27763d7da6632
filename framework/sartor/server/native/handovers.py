"""`/v1/handovers`: conversations that people have: what waits, what is said, and the way back to the bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from sartor.errors import NamingError, UsageError
from sartor.handover.desk import Desk
from sartor.server.caller import Caller, needs
from sartor.server.failures import Failure
from sartor.server.native.objects import TurnObject, turn_object
from sartor.server.service import service_of
from sartor.values import HandOver

__all__ = ["router"]

router = APIRouter(tags=["handovers"])

_People = Annotated[Caller, Depends(needs("people"))]


class PersonRequest(BaseModel):
    """Who acts."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=200)
    """The person's name, as the user sees it."""


class SayRequest(PersonRequest):
    """What a person says to the user."""

    text: str = Field(min_length=1, max_length=20_000)


class HandOverObject(BaseModel):
    """A conversation that a person has, or had."""

    object: Literal["handover"] = "handover"
    id: str
    bot: str
    user: str
    conversation: str
    reason: str
    """Why a person was called."""
    summary: str
    """What was said and done until then. Much of it is what the user wrote: show it as text."""
    since: datetime
    taken_by: str = ""
    """Who spoke to the user first; empty: nobody did yet."""
    released: datetime | None = None
    """When the bot was given the conversation back."""
    turns: list[TurnObject] | None = None
    """The conversation, the oldest turn first; not in lists."""


class HandOverList(BaseModel):
    """All that are open, the oldest first."""

    object: Literal["list"] = "list"
    data: list[HandOverObject]


@router.get("/v1/handovers")
async def waiting(request: Request, caller: _People) -> HandOverList:
    """The conversations of the tenant that people have, or that wait for one."""
    return HandOverList(data=[_object(one) for one in await _desk(request, caller).open()])


@router.get("/v1/handovers/{handover}")
async def get(request: Request, handover: str, caller: _People) -> HandOverObject:
    """One of them, with the conversation."""
    desk = _desk(request, caller)
    found = await _known(desk, handover)
    turns = [turn_object(stored.reply, caller) for stored in await desk.turns(handover)]
    return _object(found).model_copy(update={"turns": turns})


@router.post("/v1/handovers/{handover}/messages", status_code=201)
async def say(request: Request, handover: str, asked: SayRequest, caller: _People) -> TurnObject:
    """Say something to the user in a person's name."""
    desk = _desk(request, caller)
    async with _held(desk, handover):
        return turn_object(await desk.say(handover, asked.text, by=asked.by), caller)


@router.post("/v1/handovers/{handover}/release")
async def release(request: Request, handover: str, asked: PersonRequest, caller: _People) -> HandOverObject:
    """Give the conversation back to the bot."""
    desk = _desk(request, caller)
    async with _held(desk, handover):
        return _object(await desk.release(handover, by=asked.by))


def _desk(request: Request, caller: Caller) -> Desk:
    return Desk(service_of(request).bots, caller.tenant)


async def _known(desk: Desk, handover: str) -> HandOver:
    try:
        return await desk.get(handover)
    except NamingError as error:
        raise Failure(404, "there is no such hand-over", code="not_found") from error


@asynccontextmanager
async def _held(desk: Desk, handover: str) -> AsyncIterator[None]:
    """For what can be done only while a person has the conversation, even where another releases it meanwhile."""
    await _waiting(desk, handover)
    try:
        yield
    except UsageError:
        await _waiting(desk, handover)
        raise


async def _waiting(desk: Desk, handover: str) -> None:
    """Raises `Failure` 404, and 409 where the bot has the conversation again."""
    if (await _known(desk, handover)).released is not None:
        raise Failure(409, "the bot has the conversation again", code="released")


def _object(there: HandOver) -> HandOverObject:
    return HandOverObject(
        id=there.id,
        bot=f"{there.tenant}/{there.bot}",
        user=there.user,
        conversation=there.conversation,
        reason=there.reason,
        summary=there.summary,
        since=there.since,
        taken_by=there.taken_by,
        released=there.released,
    )
