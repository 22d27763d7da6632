"""What may stand under the name `webhook` in `bot.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings

__all__ = ["WebhookSettings"]


class WebhookSettings(PluginSettings):
    """A program that sends messages, and takes the replies."""

    secrets: list[Annotated[str, Field(pattern="^(env|file):.+")]] = Field(min_length=1, max_length=5)
    """Where the secrets (``whsec_…``) are, as ``env:NAME`` or ``file:PATH``; looked up with each request. A message
    signed with any of them is taken, and replies are signed with all of them, so that one can be replaced."""
    mode: Literal["async", "sync"] = "async"
    """``async``: a message is answered with 202 at once, and the reply is sent to `url`. ``sync``: the answer to the
    message is the reply."""
    url: str = Field(default="", pattern=r"^(https?://[^\s/]+.*)?$")
    """Where replies are sent to, in mode ``async``; nothing in a message can change it."""
    alerts: str = Field(default="", pattern=r"^(https?://[^\s/]+.*)?$")
    """Where hand-overs are told to (`hand_over: {channel: webhook}`): that one began, each further message of the user
    and of the person, and its end; by default `url`."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds that the program at `url` may take to answer."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.mode == "async") != bool(self.url):
            raise ValueError("mode async needs `url`, where replies go, and mode sync has none")
        return self
