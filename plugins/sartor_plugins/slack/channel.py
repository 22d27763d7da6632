"""The Slack channel: events in, messages out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
from sartor.channels import Answer, Channel, Message, Notice, Received, Request, json_answer
from sartor.errors import DeliveryError
from sartor.secrets import resolve_secret
from sartor.texts import in_language
from sartor.values import BotInfo, JSONValue, Reply

from sartor_plugins.slack.events import address_of, message_of
from sartor_plugins.slack.people import People
from sartor_plugins.slack.post import note, posts
from sartor_plugins.slack.settings import SlackSettings
from sartor_plugins.slack.signature import signed
from sartor_plugins.slack.web import SlackWeb

__all__ = ["SlackChannel"]

log = logging.getLogger("sartor.channels.slack")

_GONE = ("cant_update_message", "edit_window_closed", "message_not_found")
_NO_RETRY = {"x-slack-no-retry": "1"}


class SlackChannel(Channel):
    """One Slack app for one bot."""

    def __init__(
        self,
        bot: BotInfo,
        settings: SlackSettings,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.patience = settings.patience
        self._bot = bot
        self._settings = settings
        self._directory = directory
        self._now = now
        self._web = SlackWeb(settings, directory, transport)
        self._people = People(bot, settings, self._web)
        self.alerts = bool(settings.people)

    async def close(self) -> None:
        await self._web.close()

    async def receive(self, request: Request) -> Received:
        if request.method != "POST":
            return Received(Answer(405, headers={"allow": "POST"}))
        secret = resolve_secret(self._settings.signing_secret, self._directory)
        if not signed(secret, request.headers, request.body, self._now()):
            log.warning("a request to %s has no valid signature of Slack", self._bot.id)
            return Received(Answer(401, headers=_NO_RETRY))
        try:
            payload = json.loads(request.body)
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            return Received(Answer(400, headers=_NO_RETRY))
        if payload.get("type") == "url_verification":
            return Received(json_answer(200, {"challenge": str(payload.get("challenge", ""))}))
        if payload.get("type") == "app_rate_limited":
            log.warning("Slack sends %s fewer events than there are", self._bot.id)
        if number := request.headers.get("x-slack-retry-num", ""):
            reason = request.headers.get("x-slack-retry-reason", "")
            log.info("retry %.10s of an event for %s: %.40r", number, self._bot.id, reason)
        return await self._happened(payload) if payload.get("type") == "event_callback" else Received()

    async def _happened(self, payload: Mapping[str, JSONValue]) -> Received:
        """What an event comes to: what one of the people says, or a message to the bot."""
        if (heard := await self._people.heard(payload)) is not None:
            return Received(said=heard)
        found = message_of(payload, self._bot.bot, self._settings.respond_to, self._settings.teams)
        return Received(messages=(replace(found, audience=self._settings.audience),) if found else ())

    async def alert(self, notice: Notice) -> None:
        await self._people.tell(notice)

    def address(self, conversation: str, user: str) -> Message | None:
        to = address_of(conversation, user, self._bot.bot)
        return Message("", user, f"hand-over in {conversation}", conversation, to=to) if to else None

    async def working(self, message: Message) -> Message:
        text = in_language(self._settings.working, message.language or self._bot.language)
        told = await self._web.call("chat.postMessage", note(message, text))
        return replace(message, to={**message.to, "posted": told.get("ts")})

    def write(self, message: Message, reply: Reply) -> Sequence[JSONValue]:
        return posts(message, reply, self._settings)

    async def send(self, message: Message, part: JSONValue) -> None:
        assert isinstance(part, dict)
        if "ts" not in part:
            await self._web.call("chat.postMessage", part)
            return
        try:
            await self._web.call("chat.update", part)
        except DeliveryError as error:
            if not error.what.endswith(_GONE):
                raise
            new = {name: value for name, value in part.items() if name != "ts"}
            thread = message.to.get("thread")
            await self._web.call("chat.postMessage", {**new, **({"thread_ts": thread} if thread else {})})
