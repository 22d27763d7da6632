"""Requests to one service: pooled connections, retries where they are safe, nothing sent elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx
from sartor.errors import ToolError
from sartor.values import JSONValue, Turn

from sartor_plugins.reach.breaker import Outage
from sartor_plugins.reach.settings import RequestSettings
from sartor_plugins.reach.sources import Secrets

__all__ = ["Answer", "Request", "Service", "close_clients", "idempotency_key", "path_part", "text_of"]

log = logging.getLogger("sartor.reach")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_IDEMPOTENT = _SAFE | {"PUT", "DELETE"}
_AGAIN = frozenset({429, 502, 503, 504})
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_REDIRECTS = 3
_TOLD = 500
"""Characters of a refusal that the model is shown."""


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JSONValue = None
    key: str = ""
    """What makes it the same request as an earlier one."""


@dataclass(frozen=True)
class Answer:
    body: JSONValue
    """JSON, or text where it is none."""
    url: str
    next: str = ""
    """The next page, as the header Link tells it."""


class Service:
    """One service, as one bot asks it. Connections are kept for each event loop; cookies never are."""

    def __init__(
        self, settings: RequestSettings, directory: Path, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.settings = settings
        self.secrets = Secrets(directory)
        self._transport = transport
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def ask(self, request: Request, turn: Turn) -> Answer:
        """Send `request`, with credentials. Raises `ToolError`; an `Outage` is one that the service is to blame for."""
        headers = self._headers(request, turn)
        asked = [(name, self.secrets.value(text, turn)) for name, text in self.settings.query.items()]
        basic = [self.secrets.value(text, turn) for text in self.settings.basic]
        again = request.method in _IDEMPOTENT or (request.key and bool(self.settings.idempotency_header))
        for left in range(self.settings.retries, -1, -1):
            wait = _FIRST_WAIT * 2 ** (self.settings.retries - left)
            try:
                status, told, body = await self._send(request, headers, asked, basic)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                if not left:
                    raise self._lost("the service cannot be reached", error) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if not left or not again:
                    done = "" if request.method in _SAFE else "; whether it was done is not known"
                    raise self._lost(f"the service did not answer{done}", error) from error
            else:
                asked_wait = _seconds(told)
                if status not in _AGAIN or not left or not again or (asked_wait or 0) > _LONGEST_WAIT:
                    return self._answer(request, status, told, body)
                wait = asked_wait if asked_wait is not None else wait
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the connections of this event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _headers(self, request: Request, turn: Turn) -> dict[str, str]:
        headers = {"accept": "application/json, text/plain;q=0.5", **request.headers}
        if request.key and self.settings.idempotency_header and request.method not in _IDEMPOTENT:
            headers[self.settings.idempotency_header.lower()] = request.key
        return headers | self.secrets.headers(self.settings.headers, turn)

    def _lost(self, what: str, error: Exception) -> Outage:
        return Outage(what, remedy=self.secrets.hide(f"{type(error).__name__}: {error}"))

    async def _send(
        self, request: Request, headers: Mapping[str, str], asked: list[tuple[str, str]], basic: list[str]
    ) -> tuple[int, httpx.Headers, bytes]:
        client = self._client()
        url = httpx.URL(request.url)
        if query := [*request.query, *asked]:
            url = url.copy_merge_params(httpx.QueryParams([*url.params.multi_items(), *query]))
        auth = httpx.BasicAuth(*basic) if basic else None
        for _ in range(_REDIRECTS + 1):
            made = client.build_request(
                request.method,
                url,
                headers=dict(headers),
                json=request.body if request.body is not None else None,
            )
            response = await client.send(made, stream=True, auth=auth)
            try:
                onward = response.next_request
                if onward is None or request.method not in _SAFE or not _same_origin(url, onward.url):
                    return response.status_code, response.headers, await self._read(response)
                url = onward.url
            finally:
                await response.aclose()
        raise ToolError("the service redirects in a circle")

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self.settings.response_bytes:
                raise ToolError(f"the answer has more than {self.settings.response_bytes} bytes")
        return bytes(body)

    def _answer(self, request: Request, status: int, headers: httpx.Headers, body: bytes) -> Answer:
        text = self.secrets.hide(body.decode("utf-8", "replace"))
        if 200 <= status < 300:
            links = httpx.Response(200, headers=headers).links
            return Answer(_parsed(text, headers), request.url, links.get("next", {}).get("url") or "")
        place = f"{request.method} {request.url.partition('?')[0]} answered {status}"
        if status in (401, 403):
            raise ToolError("the service refuses it: not allowed", remedy=place)
        if status == 429 or status >= 500:
            raise Outage(f"the service failed ({status})", remedy=place)
        if 300 <= status < 400:
            raise ToolError("the service points elsewhere, which is not followed", remedy=place)
        detail = " ".join(text.split())[:_TOLD]
        raise ToolError(f"the service refuses it ({status})" + (f": {detail}" if detail else ""), remedy=place)

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if (client := self._clients.get(loop)) is None:
            client = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=10),  # the tool's own time limit is around it
                limits=httpx.Limits(max_connections=20, max_keepalive_connections=5),
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one user's would be sent with another's
                transport=self._transport,
            )
            self._clients[loop] = client
        return client


async def close_clients(services: Sequence[Service]) -> None:
    """Close the connections of all `services`."""
    for service in services:
        await service.close()


def idempotency_key(turn: Turn, tool: str, arguments: Mapping[str, JSONValue]) -> str:
    """The same for the same call in the same turn."""
    told = json.dumps([turn.tenant, turn.bot, turn.id, tool, arguments], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:40]


def path_part(name: str, value: JSONValue) -> str:
    """An argument as one segment of a path. Raises `ToolError` for what would lead to another one."""
    text = text_of(value)
    if text in ("", ".", ".."):
        raise ToolError(f"{name} cannot be {text!r}")
    return quote(text, safe="")


def text_of(value: JSONValue) -> str:
    """An argument as text in a URL."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port) and not other.userinfo


def _seconds(headers: httpx.Headers) -> float | None:
    told = headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() and len(told) < 6 else None


def _parsed(text: str, headers: httpx.Headers) -> JSONValue:
    if "json" not in headers.get("content-type", "") and text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        value: JSONValue = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return value


def _no_number(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
