"""Calls of Slack's Web API: connections, pace, and what went wrong as `DeliveryError`."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import httpx
from sartor.errors import DeliveryError
from sartor.secrets import resolve_secret
from sartor.values import JSONValue

from sartor_plugins.slack.settings import SlackSettings

__all__ = ["SlackWeb"]

_PASSING = frozenset({"fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout",
                      "service_unavailable", "team_added_to_org"})  # fmt: skip
"""Errors of Slack that may be over when the same is tried again."""
_CHANNELS = 1000


class SlackWeb:
    """Calls methods with the app's token."""

    def __init__(self, settings: SlackSettings, directory: Path, transport: httpx.AsyncBaseTransport | None) -> None:
        self._settings = settings
        self._directory = directory
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._next: OrderedDict[str, float] = OrderedDict()

    async def call(self, method: str, arguments: Mapping[str, JSONValue]) -> Mapping[str, JSONValue]:
        """What Slack answers. Raises `DeliveryError`, and `UsageError` for a token that is not where its reference
        points."""
        await self._pace(str(arguments.get("channel", "")))
        body = json.dumps(dict(arguments), ensure_ascii=False).encode("utf-8", "replace")
        return await self._post(method, body, "application/json; charset=utf-8")

    async def ask(self, method: str, **arguments: str) -> Mapping[str, JSONValue]:
        """What Slack answers to a method that only reads; those take no JSON. Raises as `call` does."""
        return await self._post(method, urlencode(arguments).encode(), "application/x-www-form-urlencoded")

    async def _post(self, method: str, body: bytes, kind: str) -> Mapping[str, JSONValue]:
        token = resolve_secret(self._settings.bot_token, self._directory)
        url = f"{self._settings.api.rstrip('/')}/{method}"
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        try:
            response = await self._open().post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeliveryError(f"{method}: Slack cannot be reached: {type(error).__name__}", where=url) from error
        return _read(method, url, response)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._settings.timeout, transport=self._transport, follow_redirects=False
            )
        return self._client

    async def _pace(self, channel: str) -> None:
        """Wait until the next message to a Slack channel is due."""
        now = asyncio.get_running_loop().time()
        due = max(now, self._next.pop(channel, now))
        self._next[channel] = due + self._settings.interval
        if len(self._next) > _CHANNELS:
            self._next.popitem(last=False)
        if due > now:
            await asyncio.sleep(due - now)


def _read(method: str, url: str, response: httpx.Response) -> Mapping[str, JSONValue]:
    status = response.status_code
    if status != 200:
        passing = status == 429 or status >= 500
        raise DeliveryError(f"{method}: Slack answered {status}", where=url, again=passing, retry_after=_wait(response))
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise DeliveryError(f"{method}: Slack answered no JSON", where=url)
    if told.get("ok") is not True:
        name = str(told.get("error", "unknown"))[:60]
        raise DeliveryError(
            f"{method}: {name}", where=url, again=name in _PASSING, retry_after=_wait(response), remedy=_remedy(name)
        )
    return told


def _wait(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _remedy(name: str) -> str | None:
    if name in ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"):
        return "Set `bot_token` to the app's bot token."
    if name in ("not_in_channel", "channel_not_found"):
        return "Invite the app to the channel."
    if name == "missing_scope":
        return "Give the app the scope `chat:write`, and install it again."
    return None
