"""Who makes a request: each belongs to exactly one tenant, by its API key or by its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer

from sartor.errors import NamingError
from sartor.names import split_bot_id
from sartor.server.failures import Failure
from sartor.server.service import Service, service_of
from sartor.server.sessions import VISITOR, Person, person_of
from sartor.store import StoredTurn
from sartor.values import JSONValue

__all__ = ["Caller", "CallerOf", "KeyHolder", "SpeakerOf", "caller", "needs", "speaker"]

_KEY = "key:"
"""How the ids of users begin that are nobody but the holder of a key."""

_BEARER = HTTPBearer(auto_error=False, description="An API key (`sartor key create TENANT`), or a session's token.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and what it may do."""

    tenant: str
    kind: Literal["key", "session"]
    user: str
    """Whose conversations are meant. With a key that names no user, they are the key's own."""
    scopes: frozenset[str] = frozenset({"chat"})
    bot: str = ""
    """The only bot of a session (its name within the tenant); empty: all of the tenant's."""
    audience: str = ""
    attributes: Mapping[str, JSONValue] = field(default_factory=dict)

    @property
    def signed(self) -> bool:
        """Whether the host application or a session says who speaks, so that a body need not."""
        return not self.user.startswith(_KEY)

    def bot_id(self, name: str) -> str:
        """The id ``tenant/bot`` of the bot that the caller calls `name`, which may be ``tenant/bot`` or ``bot``.

        Raises `Failure` 404 for another tenant's, in the same words as for one that does not exist.
        """
        try:
            tenant, bot = split_bot_id(name if "/" in name else f"{self.tenant}/{name}")
        except NamingError as error:
            raise _no_bot(name) from error
        if tenant != self.tenant or self.bot not in ("", bot):
            raise _no_bot(name)
        return f"{tenant}/{bot}"

    def speaks_as(self, user: str | None) -> Caller:
        """The caller in the name of `user`, whom only a key may name. Raises `Failure` 403."""
        if not user or user == self.user:
            return self
        if self.kind != "key":
            raise Failure(403, "a session speaks for its own user only", code="user_not_allowed", param="user")
        if not self.scopes & {"chat", "read"}:
            raise _scope_missing("chat")
        if user.startswith(VISITOR) or "\0" in user or len(user.encode(errors="replace")) > 256:
            raise Failure(400, "this cannot be a user's id", code="invalid_value", param="user")
        return replace(self, user=user, audience="", attributes={})  # those are of whom the host signed

    def may_chat(self) -> Caller:
        """The caller, who may speak to bots and change what came of it. Raises `Failure` 403."""
        if "chat" not in self.scopes:
            raise _scope_missing("chat")
        return self

    def sees(self, bot: str, user: str) -> bool:
        """Whether the caller may see what `user` said to `bot` (its name within the tenant), and what came of it."""
        return self.bot in ("", bot) and (user == self.user or "read" in self.scopes)

    def may_see(self, stored: StoredTurn | None) -> StoredTurn:
        """`stored`, when it is of this caller's user and bot, or the caller may read all. Raises `Failure` 404."""
        if stored is None or not self.sees(stored.reply.turn.bot, stored.reply.turn.user):
            raise Failure(404, "there is no such turn", code="not_found")
        return stored


def _no_bot(name: str) -> Failure:
    return Failure(404, f"there is no bot {name[:100]!r}", code="model_not_found", param="model")


def _scope_missing(scope: str) -> Failure:
    return Failure(403, f"this needs an API key with the scope {scope!r}", code="scope_missing")


async def caller(request: Request, credentials: Annotated[object, Security(_BEARER)]) -> Caller:
    """Who makes the request. Raises `Failure` 401."""
    token = getattr(credentials, "credentials", "")
    service = service_of(request)
    if not token:
        raise Failure(
            401,
            "an API key or a session is missing: send it as `Authorization: Bearer …`",
            code="missing_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
    found = await _of_key(service, token) if token.startswith("sartor_") else _of_session(service, token)
    if found.kind == "key" and (signed := request.headers.get("sartor-user")):
        spec = service.bots.project.tenant(found.tenant)
        person = await person_of(signed, spec.users, service.bots.project.directory / "tenants" / found.tenant)
        found = replace(found, user=person.user, audience=person.audience, attributes=person.attributes)
    request.state.tenant = found.tenant
    return found


async def _of_key(service: Service, token: str) -> Caller:
    row = await service.keys.check(token)
    if row is None or not service.bots.project.has_tenant(row.tenant):
        raise Failure(401, "the API key is not valid", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return Caller(row.tenant, "key", f"{_KEY}{row.id}", row.scopes)


def _of_session(service: Service, token: str) -> Caller:
    bot_id, person = service.sessions.read(token)
    tenant, bot = split_bot_id(bot_id)
    return _as_caller(tenant, bot, person)


def _as_caller(tenant: str, bot: str, person: Person) -> Caller:
    return Caller(tenant, "session", person.user, bot=bot, audience=person.audience, attributes=person.attributes)


CallerOf = Annotated[Caller, Depends(caller)]
"""A parameter of this type is the caller of the request."""


async def speaker(
    caller: CallerOf,
    user: Annotated[str, Query(max_length=300, description="In whose name; for holders of a key.")] = "",
) -> Caller:
    """The caller in the name of the user whom the query names. Raises `Failure` 403 where it may name none."""
    return caller.speaks_as(user)


SpeakerOf = Annotated[Caller, Depends(speaker)]
"""A parameter of this type is the caller, in the name of the query's `user`."""


def needs(scope: str) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller, who must hold a key with `scope`. Raises `Failure` 403."""

    async def holder(caller: CallerOf) -> Caller:
        if caller.kind != "key" or scope not in caller.scopes:
            raise _scope_missing(scope)
        return caller

    return holder


KeyHolder = Annotated[Caller, Depends(needs("chat"))]
"""A parameter of this type is a caller who holds a key and may speak to bots."""
