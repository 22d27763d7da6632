"""Sessions: signed tokens with which the pages of a tenant talk to one bot, in the name of one user.

A session is a JSON Web Token (RFC 7519) of the service's own, HS256. The host application says who a user is with
a token of its own, signed as `users` in `tenant.yaml` says; a visitor without one gets a random id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import jwt

from sartor.errors import UsageError
from sartor.secrets import resolve_secret
from sartor.server.failures import Failure
from sartor.server.secret import Secret
from sartor.servicespec import UsersSpec
from sartor.values import JSONValue

__all__ = ["VISITOR", "Person", "Sessions", "person_of"]

log = logging.getLogger("sartor.server")

VISITOR = "visitor:"
"""How the ids of visitors begin; no host may sign a user whose id begins so."""

_ISSUER = "sartor"
_MOST = 8192
"""Characters of a token."""
_LEAST = 32
"""Bytes of a secret for HS256 (RFC 7518, section 3.2)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks, as the host application signed it."""

    user: str
    audience: str = ""
    attributes: Mapping[str, JSONValue] = field(default_factory=dict)


class Sessions:
    """The sessions of a service."""

    def __init__(self, secret: Secret, hours: float) -> None:
        self._key = secret.key("sessions")
        self._seconds = hours * 3600

    def begin(self, bot_id: str, person: Person) -> tuple[str, int]:
        """A token for `person` to talk to the bot ``tenant/bot``, and when it ends, in seconds since the epoch."""
        now = int(time.time())
        ends = now + int(self._seconds)
        claims = {
            "iss": _ISSUER,
            "iat": now,
            "exp": ends,
            "bot": bot_id,
            "sub": person.user,
            "audience": person.audience,
            "attributes": dict(person.attributes),
        }
        return jwt.encode(claims, self._key, algorithm="HS256"), ends

    def visitor(self) -> Person:
        """A visitor who was never here."""
        return Person(f"{VISITOR}{secrets.token_urlsafe(18)}")

    def read(self, token: str) -> tuple[str, Person]:
        """The bot and the person of a session. Raises `Failure` 401 for any token that is not one that holds."""
        try:
            claims = jwt.decode(
                token[:_MOST],
                self._key,
                algorithms=["HS256"],
                issuer=_ISSUER,
                options={"require": ["exp", "iat", "iss", "sub", "bot"]},
            )
        except jwt.PyJWTError as error:
            raise _refused() from error
        return str(claims["bot"]), Person(str(claims["sub"]), str(claims["audience"]), dict(claims["attributes"]))


async def person_of(token: str, users: UsersSpec | None, directory: Path) -> Person:
    """Who the host application says that speaks. Raises `Failure` 401 for a token that does not hold, and 503 where
    that cannot be found out.

    `directory` is the tenant's, from which files of secrets count.
    """
    if users is None:
        raise Failure(401, "this tenant signs no users", code="invalid_user_token")
    try:
        key, algorithms = await _key(token[:_MOST], users, directory)
        claims = jwt.decode(
            token[:_MOST],
            key,
            algorithms=algorithms,
            issuer=users.issuer or None,
            audience=users.for_service or None,
            leeway=30,
            options={"require": ["exp", users.user], "verify_aud": bool(users.for_service)},
        )
    except (UsageError, jwt.PyJWKClientConnectionError) as error:
        log.error("users of the tenant %s cannot be checked: %s", directory.name, error)
        raise Failure(503, "users cannot be checked at the moment", code="unavailable") from error
    except jwt.PyJWTError as error:
        raise _refused("invalid_user_token", _why(error)) from error
    user, audience, attributes = (claims.get(name) for name in (users.user, users.audience, users.attributes))
    if isinstance(user, int) and not isinstance(user, bool):
        user = str(user)
    if not isinstance(user, str) or not user or user.startswith((VISITOR, "key:")) or len(user.encode()) > 256:
        raise _refused("invalid_user_token", f"its claim {users.user!r} cannot be a user's id")
    if not isinstance(audience or "", str):
        raise _refused("invalid_user_token", f"its claim {users.audience!r} is no text")
    if not isinstance(attributes or {}, dict):
        raise _refused("invalid_user_token", f"its claim {users.attributes!r} is no object")
    return Person(user, audience or "", _plain(attributes or {}))


async def _key(token: str, users: UsersSpec, directory: Path) -> tuple[jwt.PyJWK | str, list[str]]:
    if users.secret:
        secret = resolve_secret(users.secret, directory)
        if len(secret.encode()) < _LEAST:
            raise UsageError(
                f"the secret of users ({users.secret}) is shorter than {_LEAST} bytes",
                remedy="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return secret, list(users.algorithms or ["HS256"])
    keys = _remote(users.jwks)
    found = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
    return found, list(users.algorithms or ["RS256", "ES256", "EdDSA"])


@lru_cache(maxsize=256)
def _remote(address: str) -> jwt.PyJWKClient:
    """The public keys at an address, remembered for five minutes."""
    return jwt.PyJWKClient(address, cache_keys=True, lifespan=300, timeout=5)


def _plain(attributes: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    try:
        json.dumps(attributes, allow_nan=False)
    except ValueError as error:
        raise _refused("invalid_user_token") from error
    return dict(attributes)


def _why(error: jwt.PyJWTError) -> str:
    """What is wrong with a token, in words that tell nothing but what its sender may know."""
    match error:
        case jwt.MissingRequiredClaimError():
            return f"it has no claim {error.claim!r}"
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError():
            return "it is not signed as `users` in tenant.yaml says"
        case jwt.InvalidAudienceError():
            return "its claim 'aud' is not what `users.for_service` in tenant.yaml says"
        case jwt.InvalidIssuerError():
            return "its claim 'iss' is not what `users.issuer` in tenant.yaml says"
    return ""


def _refused(code: str = "invalid_session", why: str = "") -> Failure:
    told = f"the token does not hold: {why}" if why else "the token does not hold, or no longer"
    return Failure(401, told, code=code, headers={"WWW-Authenticate": "Bearer"})
