"""`/mcp/TENANT/BOT`: a bot over the Model Context Protocol, for holders of a key of its tenant.

The protocol is stateless (streamable HTTP): each request is answered by itself, whichever replica it comes to.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sartor.errors import UsageError
from sartor.server.caller import Caller, KeyHolder
from sartor.server.failures import Failure
from sartor.server.live import Approval, Decided, Question
from sartor.server.service import Service, service_of
from sartor.values import Event, TurnOptions

if TYPE_CHECKING:
    from sartor.mcpserver import BotServer

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.post("/mcp/{tenant}/{bot}", response_class=Response)
async def exchange(request: Request, tenant: str, bot: str, caller: KeyHolder) -> Response:
    """One request of the protocol, and its answer: JSON, or a stream when there is progress to tell."""
    service = service_of(request)
    bot_id = caller.bot_id(f"{tenant}/{bot}")
    origin = request.headers.get("origin")
    if origin is not None and origin not in service.bots[bot_id].spec.web.origins:
        raise Failure(403, "pages of this origin may not talk to the bot", code="origin_not_allowed")
    await _need_sdk()
    from sartor.mcpserver import mcp_server

    server = mcp_server(
        service.bots,
        bot_id,
        user=caller.user,
        audience=caller.audience,
        documents="search" in caller.scopes,
        asked=lambda text, conversation: _turn(service, caller, bot_id, text, conversation),
    )
    return _Exchange(server, service.spec.stall_seconds)


class _Exchange(Response):
    """Hands the request to the SDK. A client that takes nothing for `stall_seconds` is given up."""

    def __init__(self, server: BotServer, stall_seconds: float) -> None:
        super().__init__()
        self._server = server
        self._stall = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from sartor.mcpserver import serve_request

        async def sending(message: Message) -> None:
            async with asyncio.timeout(self._stall):
                await send(message)

        try:
            await serve_request(self._server, scope, receive, sending)
        except* (TimeoutError, OSError):  # it is gone
            pass


async def _turn(service: Service, caller: Caller, bot_id: str, text: str, conversation: str) -> AsyncGenerator[Event]:
    """A turn among those that the service counts, bounds and drains. Raises `UsageError` with what to tell."""
    question = Question(
        bot_id=bot_id,
        text=text,
        user=caller.user,
        conversation=conversation,
        audience=caller.audience,
        attributes=caller.attributes,
        options=TurnOptions(id=uuid.uuid4().hex),
    )
    try:
        live = service.live.begin(question.options.id, question)
    except Failure as failure:
        raise UsageError(failure.message) from failure
    async with aclosing(live.listen()) as notes:
        async for _, note in notes:
            if isinstance(note, Failure):
                raise UsageError(note.message) from note
            if not isinstance(note, Approval | Decided):
                yield note


async def _need_sdk() -> None:
    """Import what costs a second without keeping everybody else waiting."""
    if "sartor.mcpserver" in sys.modules:
        return
    try:
        await asyncio.to_thread(importlib.import_module, "sartor.mcpserver")
    except ModuleNotFoundError as error:
        raise Failure(404, "this service does not serve MCP: it lacks the extra `mcp`", code="mcp_missing") from error
