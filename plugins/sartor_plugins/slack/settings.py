"""What may stand under the name `slack` in `bot.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from sartor.plugin import PluginSettings
from sartor.texts import Text

__all__ = ["SlackSettings"]


class SlackSettings(PluginSettings):
    """A Slack app that speaks for one bot."""

    bot_token: str = Field(pattern="^(env|file):.+")
    """Where the app's bot token (``xoxb-…``) is, as ``env:NAME`` or ``file:PATH``; looked up with each call."""
    signing_secret: str = Field(pattern="^(env|file):.+")
    """Where the app's signing secret is; looked up with each request."""
    respond_to: list[Literal["mentions", "direct-messages", "threads"]] = Field(default=["mentions", "direct-messages"])
    """``mentions`` of the app in a channel, ``direct-messages`` to it, and in ``threads`` what somebody writes who has
    mentioned it there before."""
    teams: list[str] = Field(default=[])
    """Ids of the workspaces (``T…``) whose people are answered; empty: all that the app is installed in, and guests
    of shared channels."""
    audience: str = ""
    """Which of the bot's audiences people in Slack are."""
    people: str = Field(default="", pattern=r"^([A-Z0-9]{2,30})?$")
    """The id of the Slack channel (``C…``) in which people are told of hand-overs, where the bot's `hand_over` names
    `slack`. What they write in the thread of one is said to the user in their name."""
    release: list[str] = Field(default=["release", "done", "terminé"])
    """What a person writes in such a thread to give the conversation back to the bot."""
    release_reaction: str = "white_check_mark"
    """The reaction to the thread's first message that does the same; empty: none."""
    sources: bool = True
    """Whether the titles of cited documents stand below a reply."""
    sources_title: Text = Field(default={"en": "Sources", "fr": "Sources"})
    """What stands before them."""
    patience: float | None = Field(default=3.0, ge=0)
    """Seconds after which `working` is posted, to be replaced by the reply; null: never."""
    working: Text = Field(default={"en": "One moment…", "fr": "Un instant…"})
    """What is posted while the reply takes long."""
    interval: float = Field(default=1.0, ge=0)
    """Least seconds between two messages to one Slack channel: Slack allows about one a second."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds that Slack may take to answer a call."""
    api: str = Field(default="https://slack.com/api", pattern=r"^https?://[^\s/]+")
    """The address of Slack's Web API; another one for tests, or for GovSlack."""
