"""`/v1/turns/{id}/passages/{number}`: the passage that a number in a reply points to, with its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from sartor.bot import Bot
from sartor.judge import Judge
from sartor.server.caller import SpeakerOf
from sartor.server.failures import Failure
from sartor.server.service import service_of
from sartor.values import Chunk, Citation, Passage, Turn

__all__ = ["router"]

router = APIRouter(tags=["turns"])


class PassageObject(BaseModel):
    """A passage that a reply cites."""

    object: Literal["passage"] = "passage"
    number: int
    title: str
    source: str
    text: str
    quote: str
    """The first sentence that the reply has from it; empty where the model wrote freely."""
    quotes: list[str]
    """All sentences that the reply has from it."""


@router.get("/v1/turns/{turn}/passages/{number}")
async def get(
    request: Request, turn: str, number: Annotated[int, Path(ge=1, le=1000)], speaker: SpeakerOf
) -> PassageObject:
    """The passage behind a citation of the turn, as the bot's policies let users see it. 404 where the reply does not
    cite that number, or the document has changed since."""
    service = service_of(request)
    store = service.bots.store.tenant(speaker.tenant)
    reply = speaker.may_see(await store.reply(turn)).reply
    cited = [one for one in reply.citations if one.number == number]
    if not cited:
        raise Failure(404, "the reply cites no such passage", code="not_found")
    chunk = (await store.chunks(reply.turn.bot, [cited[0].passage])).get(cited[0].passage)
    if chunk is None or chunk.audience not in ("", reply.turn.audience):
        raise _gone()
    text = await _cleared(service.bots[f"{speaker.tenant}/{reply.turn.bot}"], reply.turn, chunk)
    return _object(number, cited, chunk, text)


async def _cleared(bot: Bot, turn: Turn, chunk: Chunk) -> str:
    """The passage's text as the policies let it pass to the model, and from there to the user."""
    judge = Judge(bot.policies, turn)
    passage = Passage(chunk.id, chunk.tenant, chunk.source, chunk.title, chunk.text)
    release = judge.release()
    kept = await judge.passages([passage])
    text = await release.feed(kept[0].text, final=True) if kept else ""
    if release.blocked is not None or not text:
        raise _gone()
    return text


def _gone() -> Failure:
    return Failure(404, "the passage is not there any more", code="passage_gone")


def _object(number: int, cited: Sequence[Citation], chunk: Chunk, text: str) -> PassageObject:
    quotes = [one.quote for one in cited if one.quote]
    return PassageObject(
        number=number,
        title=chunk.title,
        source=chunk.source,
        text=text,
        quote=quotes[0] if quotes else "",
        quotes=quotes,
    )
