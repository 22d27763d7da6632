"""What the YAML files say of the service: its limits, the pages that may hold a bot, the users of a tenant."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sartor.specbase import Spec

__all__ = ["ServiceSpec", "UsersSpec", "WebSpec"]

_ORIGIN = r"^(\*|https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?)$"


class ServiceSpec(Spec):
    """The HTTP service: `sartor serve`, or an application that mounts it."""

    secret: str = "file:state/secret"
    """What API keys are hashed with and sessions are signed with: ``env:NAME`` or ``file:PATH``. A file that is
    missing is made. All processes of one service need the same."""
    body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest body of a request, but for uploads."""
    upload_bytes: int = Field(default=20 << 20, ge=1024)
    """Largest body with documents."""
    depth: int = Field(default=32, ge=4, le=200)
    """How deep lists and objects of a body may be nested."""
    messages: int = Field(default=500, ge=1)
    """Messages in one request."""
    requests: int = Field(default=2000, ge=1)
    """Requests at once; further ones are refused with 429 before they are read."""
    turns: int = Field(default=1000, ge=1)
    """Turns that run at once; further ones are refused with 429."""
    tenant_turns: int = Field(default=500, ge=1)
    """Turns of one tenant that run at once."""
    stall_seconds: float = Field(default=30, gt=0)
    """A client that takes nothing of its stream for so long counts as gone."""
    drain_seconds: float = Field(default=30, ge=0)
    """How long turns may go on when the service is told to stop."""
    session_hours: float = Field(default=24 * 30, gt=0)
    """How long a visitor of a page can come back to the same conversations."""
    metrics_token: str = ""
    """The bearer token for `/metrics`, by reference (``env:NAME``); without it, they are told to this machine only."""
    docs: bool = True
    """Whether `/docs` and `/openapi.json` are there."""


class WebSpec(Spec):
    """The pages that may hold a bot, and what its widget shows."""

    origins: list[Annotated[str, Field(pattern=_ORIGIN)]] = []
    """Where the widget may run: ``https://shop.example``. Without any, it runs nowhere; ``*`` is everywhere."""
    anonymous: bool = False
    """Whether visitors without a signed token may talk to the bot, each as a user of their own."""
    links: list[str] = []
    """Hosts that replies may link to, beside those of `origins`."""
    suggestions: list[str] = Field(default=[], max_length=6)
    """Questions that the widget offers at the start."""


class UsersSpec(Spec):
    """How the host application signs who its users are: a JSON Web Token (RFC 7519)."""

    secret: str = ""
    """The secret of HS256, of 32 bytes or more, by reference: ``env:NAME`` or ``file:PATH``."""
    jwks: str = ""
    """The address of the public keys (RFC 7517), for the algorithms with a key pair."""
    algorithms: list[Literal["HS256", "RS256", "ES256", "EdDSA"]] = []
    """Which are accepted; by default HS256 with `secret`, and RS256, ES256 and EdDSA with `jwks`."""
    issuer: str = ""
    """What the claim ``iss`` must be, if given."""
    for_service: str = ""
    """What the claim ``aud`` must be, if given."""
    user: str = "sub"
    """The claim with the user's id."""
    audience: str = "audience"
    """The claim with the bot's audience for this user."""
    attributes: str = "attributes"
    """The claim with the user's attributes, for tools and policies."""

    @field_validator("jwks")
    @classmethod
    def _https(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("keys are fetched by https only")
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.secret) == bool(self.jwks):
            raise ValueError("give either `secret` or `jwks`")
        if (self.secret and set(self.algorithms) - {"HS256"}) or (self.jwks and "HS256" in self.algorithms):
            raise ValueError("HS256 goes with `secret`, the other algorithms with `jwks`")
        return self
