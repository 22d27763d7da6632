"""Slack: mentions, direct messages and threads become turns; replies are posted where the message stood.

::

    slack:
      bot_token: env:ACME_SLACK_TOKEN
      signing_secret: env:ACME_SLACK_SECRET
      respond_to: [mentions, direct-messages, threads]

One Slack app speaks for one bot; its request URL is ``https://HOST/channels/slack/TENANT/BOT``. A conversation is of
one thread and one person: in a thread in which several people write, nobody's words become part of somebody else's
conversation. A tool that needs a person's approval is refused, since nobody in Slack can give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from sartor.channels import Channel
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.values import BotInfo

from sartor_plugins.slack.channel import SlackChannel
from sartor_plugins.slack.settings import SlackSettings

__all__ = ["SlackChannel", "SlackPlugin", "SlackSettings"]


class SlackPlugin(Plugin):
    """Messages in Slack, answered where they stand."""

    Settings: ClassVar[type[PluginSettings]] = SlackSettings
    hook_versions = "1"

    @hookimpl
    def sartor_channels(self, bot: BotInfo) -> Sequence[Channel]:
        return [SlackChannel(bot, cast("SlackSettings", self.settings), self.directory)]
