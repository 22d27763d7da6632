"""`/v1/sessions`: where a page begins, or takes up again, its talk with a bot."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from sartor.names import split_bot_id
from sartor.server.failures import Failure
from sartor.server.pages import may_hold
from sartor.server.service import Service, service_of
from sartor.server.sessions import VISITOR, Person, person_of
from sartor.spec import BotSpec
from sartor.texts import in_language, nearest

__all__ = ["router"]

router = APIRouter(tags=["sessions"])


class SessionRequest(BaseModel):
    """Who wants to talk to which bot."""

    model_config = ConfigDict(extra="forbid")

    bot: str = Field(max_length=200)
    """``TENANT/BOT``."""
    token: str = Field(default="", max_length=8192)
    """Who the user is, signed by the host application as `users` in `tenant.yaml` says."""
    session: str = Field(default="", max_length=8192)
    """An earlier session of the same visitor, to go on as the same."""
    language: str = Field(default="", max_length=35)


class BotObject(BaseModel):
    """What a page shows of a bot."""

    id: str
    title: str
    languages: list[str]
    greeting: str
    suggestions: list[str]
    links: list[str]
    """Hosts that replies may link to."""
    question_characters: int
    """Longest message."""


class SessionObject(BaseModel):
    """A session: send its token as ``Authorization: Bearer …``."""

    object: Literal["session"] = "session"
    token: str
    expires: int
    """Seconds since the epoch."""
    user_kind: Literal["visitor", "user"]
    bot: BotObject


@router.post("/v1/sessions", status_code=201)
async def begin(request: Request, asked: SessionRequest) -> SessionObject:
    """Begin a session, or renew one. The page's origin must be one of the bot's `web.origins`."""
    service = service_of(request)
    bot_id = _known(service, asked.bot)
    spec = service.bots[bot_id].spec
    if not may_hold(request, request.headers.get("origin", ""), spec.web):
        told = "this page may not hold the bot: `web.origins` in bot.yaml does not name its origin"
        raise Failure(403, told, code="origin_not_allowed")
    person = await _person(service, bot_id, asked, spec)
    if person.audience and person.audience not in spec.audiences:
        raise Failure(401, "the token names an audience that the bot does not have", code="invalid_user_token")
    token, expires = service.sessions.begin(bot_id, person)
    language = nearest([asked.language], spec.languages)
    hosts = [host for origin in spec.web.origins if (host := urlsplit(origin).hostname)]
    return SessionObject(
        token=token,
        expires=expires,
        user_kind="visitor" if person.user.startswith(VISITOR) else "user",
        bot=BotObject(
            id=bot_id,
            title=spec.title or bot_id,
            languages=spec.languages,
            greeting=in_language(spec.replies.greeting, language),
            suggestions=spec.web.suggestions,
            links=[*dict.fromkeys([*hosts, *spec.web.links])],
            question_characters=spec.limits.question_characters,
        ),
    )


def _known(service: Service, name: str) -> str:
    if name not in service.bots:
        raise Failure(404, "there is no such bot", code="not_found", param="bot")
    tenant, bot = split_bot_id(name)
    return f"{tenant}/{bot}"


async def _person(service: Service, bot_id: str, asked: SessionRequest, spec: BotSpec) -> Person:
    tenant, _ = split_bot_id(bot_id)
    if asked.token:
        directory = service.bots.project.directory / "tenants" / tenant
        return await person_of(asked.token, service.bots.project.tenant(tenant).users, directory)
    if not spec.web.anonymous:
        raise Failure(401, "the bot talks to signed users only", code="user_token_missing")
    if asked.session:
        try:
            earlier, person = service.sessions.read(asked.session)
        except Failure:
            return service.sessions.visitor()
        if earlier == bot_id and person.user.startswith(VISITOR):
            return person
    return service.sessions.visitor()
