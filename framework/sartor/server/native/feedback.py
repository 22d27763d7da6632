"""`/v1/turns/{id}/feedback`: what a user thinks of a reply."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from sartor.server.caller import Caller, SpeakerOf
from sartor.server.failures import Failure
from sartor.server.service import service_of
from sartor.store import TenantStore

__all__ = ["router"]

router = APIRouter(tags=["turns"])


class FeedbackRequest(BaseModel):
    """What a user thinks of a reply."""

    model_config = ConfigDict(extra="forbid")

    score: Literal[1, -1]
    """1: good; -1: bad."""
    comment: str = Field(default="", max_length=2000)


class FeedbackObject(BaseModel):
    """What a user thinks of a reply."""

    object: Literal["feedback"] = "feedback"
    turn: str
    score: int
    comment: str
    given: datetime


@router.put("/v1/turns/{turn}/feedback")
async def put(request: Request, turn: str, asked: FeedbackRequest, speaker: SpeakerOf) -> FeedbackObject:
    """Say what the user thinks of a reply, in place of what was said before."""
    store = await _store(request, turn, speaker.may_chat())
    await store.put_feedback(turn, asked.score, asked.comment)
    return await _stored(store, turn)


@router.get("/v1/turns/{turn}/feedback")
async def get(request: Request, turn: str, speaker: SpeakerOf) -> FeedbackObject:
    """What the user thinks of a reply."""
    return await _stored(await _store(request, turn, speaker), turn)


async def _store(request: Request, turn: str, caller: Caller) -> TenantStore:
    """Where the turn is stored. Raises `Failure` 404 where it is not, or is not the caller's to see."""
    store = service_of(request).bots.store.tenant(caller.tenant)
    caller.may_see(await store.reply(turn))
    return store


async def _stored(store: TenantStore, turn: str) -> FeedbackObject:
    row = await store.feedback(turn)
    if row is None:
        raise Failure(404, "nothing was said of this turn", code="not_found")
    return FeedbackObject(turn=turn, score=row.score, comment=row.comment, given=row.given)
