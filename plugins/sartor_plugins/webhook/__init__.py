"""A webhook: a program sends messages of its users, and is sent the replies, all signed (Standard Webhooks).

::

    webhook:
      secrets: [env:ACME_WEBHOOK_SECRET]
      url: https://shop.example/bot-replies

Messages are posted to ``https://HOST/channels/webhook/TENANT/BOT`` as ``{"user": "u-17", "text": "…"}``. With
``mode: sync`` the answer is the reply, and there is no `url`. Who knows a secret speaks for every user, as the holder
of an API key does. A tool that needs a person's approval is refused, since nobody can give it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from sartor.channels import Channel
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.values import BotInfo

from sartor_plugins.webhook.channel import WebhookChannel
from sartor_plugins.webhook.settings import WebhookSettings

__all__ = ["WebhookChannel", "WebhookPlugin", "WebhookSettings"]


class WebhookPlugin(Plugin):
    """A program that sends messages of its users, and is sent the replies."""

    Settings: ClassVar[type[PluginSettings]] = WebhookSettings
    hook_versions = "1"

    @hookimpl
    def sartor_channels(self, bot: BotInfo) -> Sequence[Channel]:
        return [WebhookChannel(bot, cast("WebhookSettings", self.settings), self.directory)]
