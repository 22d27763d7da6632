"""`/v1/approvals`: tool calls that wait for a person, and the person's decision."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from sartor.server.caller import Caller, SpeakerOf, needs
from sartor.server.failures import Failure
from sartor.server.live import Approval, LiveTurn
from sartor.server.service import service_of
from sartor.values import Started

__all__ = ["router"]

router = APIRouter(tags=["approvals"])


_Arguments = dict[str, object]


class DecisionRequest(BaseModel):
    """What a person decides on a tool call that waits."""

    model_config = ConfigDict(extra="forbid")

    approve: bool


class ApprovalObject(BaseModel):
    """A tool call that waits for a person."""

    object: Literal["approval"] = "approval"
    id: str
    """Of the call: decide at `/v1/turns/{turn}/approvals/{id}`."""
    turn: str
    conversation: str
    bot: str
    user: str
    tool: str
    arguments: _Arguments
    reason: str
    since: datetime


class ApprovalList(BaseModel):
    """All that waits, what waits longest first."""

    object: Literal["list"] = "list"
    data: list[ApprovalObject]


@router.get("/v1/approvals")
async def waiting(request: Request, caller: Annotated[Caller, Depends(needs("approve"))]) -> ApprovalList:
    """The tool calls of the tenant that wait for a person in this process."""
    turns = service_of(request).live.of_tenant(caller.tenant)
    found = [_object(live, approval) for live in turns for approval in live.approvals]
    return ApprovalList(data=sorted(found, key=lambda one: one.since))


@router.post("/v1/turns/{turn}/approvals/{call}", status_code=204)
async def decide(request: Request, turn: str, call: str, asked: DecisionRequest, speaker: SpeakerOf) -> None:
    """Let a tool call that waits run, or not: the user's own word, or that of a key with the scope `approve`."""
    live = service_of(request).live.find(speaker.tenant, turn)
    if live is None or not _may_decide(live, speaker) or not live.decide(call, asked.approve):
        raise Failure(404, "no such tool call waits for a decision", code="not_found")


def _may_decide(live: LiveTurn, caller: Caller) -> bool:
    if "approve" in caller.scopes:
        return True
    bot = live.question.bot_id.partition("/")[2]
    return "chat" in caller.scopes and live.question.user == caller.user and caller.bot in ("", bot)


def _object(live: LiveTurn, approval: Approval) -> ApprovalObject:
    started = next((note.turn.conversation for note in live.notes if isinstance(note, Started)), "")
    return ApprovalObject(
        id=approval.call.id,
        turn=live.id,
        conversation=started or live.question.conversation,
        bot=live.question.bot_id,
        user=live.question.user,
        tool=approval.call.name,
        arguments=dict(approval.call.arguments),
        reason=approval.reason,
        since=approval.since,
    )
