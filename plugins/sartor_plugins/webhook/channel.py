"""The webhook channel: signed messages in, signed turns out."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from sartor.channels import Answer, Channel, Message, Notice, Received, Request, json_answer
from sartor.errors import DeliveryError
from sartor.secrets import resolve_secret
from sartor.values import BotInfo, JSONValue, Outcome, Reply

from sartor_plugins.webhook.settings import WebhookSettings
from sartor_plugins.webhook.signature import key_of, signed, signed_headers

__all__ = ["Incoming", "WebhookChannel"]

log = logging.getLogger("sartor.channels.webhook")

_LONGEST_ID = 200
_PASSING = (408, 409, 425, 429)
_FAULTS = 5


class Incoming(BaseModel):
    """The JSON of a message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: str = Field(min_length=1, max_length=500)
    """Who wrote it: the program's own id of the user, as in the API."""
    text: str = Field(min_length=1)
    id: str = Field(default="", max_length=_LONGEST_ID, pattern="^[!-~]*$")
    """What identifies the message, if the header `webhook-id` does not."""
    conversation: str = Field(default="", max_length=500)
    """An earlier conversation of the same user, as a reply named it; or an id of the program's own."""
    language: str = ""
    audience: str = ""
    attributes: dict[str, JsonValue] = {}


class WebhookChannel(Channel):
    """One program that speaks for the users of one bot."""

    def __init__(
        self,
        bot: BotInfo,
        settings: WebhookSettings,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.alerts = bool(settings.alerts or settings.url)
        self._bot = bot
        self._settings = settings
        self._directory = directory
        self._now = now
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def receive(self, request: Request) -> Received:
        if request.method != "POST":
            return Received(Answer(405, headers={"allow": "POST"}))
        if not signed(self._keys(), request.headers, request.body, self._now()):
            log.warning("a request to %s has no valid signature", self._bot.id)
            return Received(Answer(401))
        try:
            told = Incoming.model_validate(_json(request.body))
        except ValidationError as error:
            return Received(json_answer(400, {"error": _faults(error)}))
        event = told.id or request.headers["webhook-id"]
        if len(event) > _LONGEST_ID:
            return Received(json_answer(400, {"error": f"the id has more than {_LONGEST_ID} characters"}))
        message = Message(
            text=told.text,
            user=told.user,
            event=event,
            conversation=told.conversation,
            language=told.language,
            audience=told.audience,
            attributes=told.attributes,
        )
        waits = self._settings.mode == "sync"
        return Received(None if waits else json_answer(202, {"id": event}), (message,))

    def write(self, message: Message, reply: Reply) -> Sequence[JSONValue]:
        return [_turn(message, reply)]

    async def alert(self, notice: Notice) -> None:
        url = self._settings.alerts or self._settings.url
        if not url:
            raise DeliveryError("the webhook has no `alerts`, where hand-overs are told to", again=False)
        # Where both go to one address, a notice must not be taken for the reply of its turn.
        await self._post(url, _notice(notice), f"{notice.id}.{notice.kind}")

    async def send(self, message: Message, part: JSONValue) -> None:
        assert isinstance(part, dict)
        await self._post(self._settings.url, part, str(part["id"]))

    async def _post(self, url: str, part: dict[str, JSONValue], id_: str) -> None:
        body = json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        # A receiver knows the same reply again by its id, which is the turn's, or the notice's.
        headers = signed_headers(self._keys(), id_, body, self._now())
        try:
            async with self._open().stream(
                "POST", url, content=body, headers={**headers, "content-type": "application/json"}
            ) as response:
                status, wait = response.status_code, response.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeliveryError(f"the webhook cannot be reached: {type(error).__name__}", where=url) from error
        if not 200 <= status < 300:
            raise DeliveryError(
                f"the webhook answered {status}",
                where=url,
                again=status in _PASSING or status >= 500,
                retry_after=float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 8 else None,
            )

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._settings.timeout, transport=self._transport, follow_redirects=False
            )
        return self._client

    def _keys(self) -> list[bytes]:
        return [key_of(resolve_secret(secret, self._directory)) for secret in self._settings.secrets]


def _turn(message: Message, reply: Reply) -> dict[str, JSONValue]:
    """The turn as the native API shows it, and the id of the message that it answers."""
    turn = reply.turn
    return {
        "object": "turn",
        "id": turn.id,
        "reply_to": message.event,
        "conversation": turn.conversation,
        "bot": f"{turn.tenant}/{turn.bot}",
        "user": turn.user,
        "status": "cancelled" if reply.outcome is Outcome.CANCELLED else "completed",
        "outcome": reply.outcome.value,
        "question": turn.text,
        "text": reply.text,
        "citations": [
            {"number": one.number, "title": one.title, "source": one.source, "quote": one.quote}
            for one in reply.citations
        ],
        "tools": [{"id": use.call.id, "name": use.call.name, "error": use.result.error} for use in reply.tools],
        "usage": {"prompt": reply.usage.prompt, "cached": reply.usage.cached, "generated": reply.usage.generated},
        "created": turn.started.isoformat() if turn.started else None,
    }


def _notice(notice: Notice) -> dict[str, JSONValue]:
    """A notice: what happened, and the hand-over as the native API shows it."""
    there = notice.handover
    return {
        "object": f"handover.{notice.kind}",
        "text": notice.text,
        "author": notice.author,
        "handover": {
            "id": there.id,
            "bot": f"{there.tenant}/{there.bot}",
            "user": there.user,
            "conversation": there.conversation,
            "reason": there.reason,
            "summary": there.summary,
            "since": there.since.isoformat(),
            "taken_by": there.taken_by,
            "released": there.released.isoformat() if there.released else None,
        },
    }


def _json(body: bytes) -> JsonValue:
    """What `body` says; None where it is no JSON, which has no NaN and no number that is too large."""

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(text)
        return value

    try:
        told: JsonValue = json.loads(body, parse_constant=number, parse_float=number)
    except (ValueError, RecursionError):
        return None
    return told


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[:_FAULTS]
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in found)
