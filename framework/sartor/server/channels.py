"""`/channels/{channel}/{tenant}/{bot}`: where platforms such as Slack send what people write to a bot.

There is no API key here: the channel itself checks that a request is its platform's. See `sartor.intake`.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sartor import channels
from sartor.server.service import service_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.api_route("/channels/{channel}/{tenant}/{bot}", methods=["GET", "POST"])
async def receive(request: Request, channel: str, tenant: str, bot: str) -> Response:
    """Hand a request on to a bot's channel."""
    asked = channels.Request(
        method=request.method,
        headers={name: ", ".join(request.headers.getlist(name)) for name in request.headers},
        body=await request.body(),
        query=dict(request.query_params),
    )
    answer = await service_of(request).intake.receive(channel, f"{tenant}/{bot}", asked)
    return Response(answer.body, answer.status, dict(answer.headers))
