"""The pages of the site, and the bot in them."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import sartor
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

log = logging.getLogger(__name__)


def home(request: HttpRequest) -> HttpResponse:
    """The page. Where a reader's browser runs no script, the form is sent here, and the answer stands in the page."""
    reply = None
    text = request.POST.get("text", "").strip()
    if text and request.user.is_authenticated:
        bot: sartor.Bot = request.scope["state"]["bot"]
        reply = async_to_sync(bot.reply)(text, user=request.user.pk)
    return render(request, "home.html", {"reply": reply})


@require_POST
async def stream(request: HttpRequest) -> HttpResponse:
    """The answer to a reader as server-sent events."""
    reader = await request.auser()
    text = request.POST.get("text", "").strip()
    if not reader.is_authenticated:
        return JsonResponse({"error": "sign in first"}, status=401)
    if not text:
        return JsonResponse({"error": "the message is empty"}, status=400)
    bot: sartor.Bot = request.scope["state"]["bot"]
    return StreamingHttpResponse(
        answer(bot, text, reader.pk, request.POST.get("conversation", "")),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def answer(bot: sartor.Bot, text: str, user: str, conversation: str) -> AsyncIterator[bytes]:
    """What the page shows, as it comes. Django closes it when the reader goes away, and that stops the model."""
    try:
        async with aclosing(bot.stream(text, user=user, conversation=conversation)) as events:
            async for event in events:
                match event:
                    case sartor.Started():
                        yield sse("started", conversation=event.turn.conversation)
                    case sartor.Delta():
                        yield sse("delta", text=event.text)
                    case sartor.Finished():
                        sources = [citation.source for citation in event.reply.citations]
                        yield sse("finished", text=event.reply.text, sources=sources)
    except sartor.SartorError:
        log.exception("a question was not answered")
        yield sse("failed", text="Sorry, something went wrong. Please try again later.")


def sse(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
