"""`/v1/conversations`: the conversations of a user with a bot, and their turns."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from sartor.bots import Bots
from sartor.errors import SartorError
from sartor.server.caller import Caller, CallerOf, SpeakerOf
from sartor.server.failures import Failure
from sartor.server.native.objects import ConversationObject, Page, TurnObject, conversation_object, turn_object
from sartor.server.service import service_of
from sartor.store import ConversationRow

__all__ = ["After", "BotName", "Limit", "TurnPage", "bot_of", "router", "turns_of"]

router = APIRouter(tags=["conversations"])

BotName = Annotated[str, Query(max_length=200, description="`BOT` or `TENANT/BOT`; a session has its own.")]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=300)]


class ConversationRequest(BaseModel):
    """Which bot a conversation is to be with."""

    model_config = ConfigDict(extra="forbid")

    bot: str = Field(default="", max_length=200)
    """``BOT`` or ``TENANT/BOT``; a session has its own."""


class ConversationPage(Page):
    """Conversations, the latest first."""

    data: list[ConversationObject]


class TurnPage(Page):
    """Turns, the oldest first."""

    data: list[TurnObject]
    last: str
    """The cursor behind the last of them: passed as `after` later, it brings what is new."""
    with_person: bool = False
    """Whether a person has the conversation: until it is false, look again for what they say."""


@router.post("/v1/conversations", status_code=201)
async def create(request: Request, asked: ConversationRequest, caller: CallerOf) -> ConversationObject:
    """An id for a new conversation. It is stored with its first turn."""
    bot_id = bot_of(request, asked.bot, caller.may_chat())
    return ConversationObject(id=uuid.uuid4().hex, bot=bot_id)


@router.get("/v1/conversations")
async def list_conversations(
    request: Request,
    speaker: SpeakerOf,
    bot: BotName = "",
    limit: Limit = 20,
    after: After = "",
) -> ConversationPage:
    """The user's conversations with a bot, the latest first."""
    bot_id = bot_of(request, bot, speaker)
    store = service_of(request).bots.store.tenant(speaker.tenant)
    rows = await store.conversations(bot_id.partition("/")[2], speaker.user, limit + 1, _seen(after))
    more = len(rows) > limit
    return ConversationPage(
        data=[conversation_object(row, speaker.tenant) for row in rows[:limit]],
        has_more=more,
        next=_cursor(rows[limit - 1]) if more else None,
    )


@router.get("/v1/conversations/{conversation}/turns")
async def list_turns(
    request: Request,
    speaker: SpeakerOf,
    conversation: str,
    limit: Limit = 50,
    after: After = "",
) -> TurnPage:
    """The turns of a conversation, the oldest first."""
    store = service_of(request).bots.store.tenant(speaker.tenant)
    row = await store.conversation(conversation)
    if row is None or not speaker.sees(row.bot, row.user):
        raise Failure(404, "there is no such conversation", code="not_found")
    return await turns_of(request, row, speaker, limit, after)


async def turns_of(request: Request, row: ConversationRow, caller: Caller, limit: int, after: str) -> TurnPage:
    """Turns of a conversation that `caller` may see. Raises `Failure` 400 for a cursor that is none."""
    if after and not (after.isascii() and after.isdigit() and len(after) < 10):
        raise Failure(400, "this is no cursor of this list", code="invalid_value", param="after")
    # Asked before the turns are read: what a person said last comes at the latest with the page that ends the waiting.
    with_person = await _with_person(service_of(request).bots, row, caller.tenant)
    store = service_of(request).bots.store.tenant(caller.tenant)
    turns = await store.turns(row.id, limit + 1, int(after or 0))
    more = len(turns) > limit
    turns = turns[:limit]
    return TurnPage(
        data=[turn_object(turn.reply, caller) for turn in turns],
        has_more=more,
        next=str(turns[-1].number) if more else None,
        last=str(turns[-1].number) if turns else after or "0",
        with_person=with_person,
    )


def bot_of(request: Request, name: str, caller: Caller) -> str:
    """The bot that is meant. Raises `Failure` when it is not told or not the caller's."""
    if not name and not caller.bot:
        raise Failure(400, "which bot?", code="missing", param="bot")
    bot_id = caller.bot_id(name or caller.bot)
    if bot_id not in service_of(request).bots:
        raise Failure(404, "there is no such bot", code="not_found", param="bot")
    return bot_id


async def _with_person(bots: Bots, row: ConversationRow, tenant: str) -> bool:
    """Whether a person has the conversation, and the bot, if there still is one, is silent for it."""
    try:
        hands_over = bots[f"{tenant}/{row.bot}"].spec.hand_over is not None
    except SartorError:
        return False
    return hands_over and await bots.store.tenant(tenant).open_handover(row.bot, row.user, row.id) is not None


def _cursor(row: ConversationRow) -> str:
    return base64.urlsafe_b64encode(f"{row.updated.isoformat()} {row.id}".encode()).decode()


def _seen(cursor: str) -> tuple[datetime, str] | None:
    if not cursor:
        return None
    try:
        updated, _, id_ = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(" ")
        instant = datetime.fromisoformat(updated)
        if instant.tzinfo is None or not id_:
            raise ValueError("incomplete")
    except (ValueError, binascii.Error) as error:
        raise Failure(400, "this is no cursor of this list", code="invalid_value", param="after") from error
    return instant, id_
