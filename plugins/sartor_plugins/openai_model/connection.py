"""Requests to one server: connections, secrets, retries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx
from sartor.errors import ModelError
from sartor.secrets import resolve_secret
from sartor.values import JSONValue

from sartor_plugins.openai_model.failures import broken, refused, translated, wait_of
from sartor_plugins.openai_model.settings import OpenAISettings

__all__ = ["Connection"]

_AGAIN = {429, 502, 503}
_LONGEST_WAIT = 10.0
_FIRST_WAIT = 0.25
_ERROR_BODY = 65_536


class Connection:
    """Posts requests. Connections are kept for each event loop, and opened when they are needed."""

    def __init__(self, settings: OpenAISettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._salt = secrets.token_bytes(32)
        self.url = f"{settings.url.rstrip('/')}/chat/completions"

    @asynccontextmanager
    async def post(self, body: Mapping[str, JSONValue]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of the stream that answers `body`. Leaving the block closes the connection.

        A request that could not begin is tried again; nothing is once the first byte is there. Raises `ModelError`,
        and `UsageError` for a secret that is not where its reference points.
        """
        headers, hidden = self._headers()
        response = await self._begun(body, headers, hidden)
        try:
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise broken(f"its content type is {kind or 'not told'!r}", self.url)
            yield self._bytes(response)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections of this event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def salt(self, scope: str) -> str:
        """What vLLM mixes into the keys of its cache for `scope`: nobody can guess it for somebody else."""
        return hmac.new(self._salt, scope.encode(), hashlib.sha256).hexdigest()

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if (client := self._clients.get(loop)) is None:
            told = self._settings
            client = httpx.AsyncClient(
                timeout=httpx.Timeout(told.timeout, connect=told.connect_timeout, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                follow_redirects=False,
            )
            self._clients[loop] = client
        return client

    def _headers(self) -> tuple[dict[str, str], list[str]]:
        """The headers, and those of their values that must not be told."""
        headers = {"accept": "text/event-stream"}
        hidden = []
        for name, value in self._settings.headers.items():
            headers[name.lower()] = value
            if value.startswith(("env:", "file:")):
                hidden.append(resolve_secret(value, self._directory))
                headers[name.lower()] = hidden[-1]
        if self._settings.api_key is not None:
            key = resolve_secret(self._settings.api_key, self._directory)
            hidden.append(key)
            headers["authorization"] = f"Bearer {key}"
        return headers, hidden

    async def _begun(
        self, body: Mapping[str, JSONValue], headers: Mapping[str, str], hidden: list[str]
    ) -> httpx.Response:
        for left in range(self._settings.retries, -1, -1):
            wait = _FIRST_WAIT * 2 ** (self._settings.retries - left)
            try:
                response = await self._send(body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if not left:
                    raise translated(error, self.url) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise translated(error, self.url) from error
            else:
                if response.status_code == 200:
                    return response
                asked = wait_of(response)
                failure = await self._failure(response, asked, hidden)
                if not left or response.status_code not in _AGAIN or (asked or 0) > _LONGEST_WAIT:
                    raise failure
                wait = asked if asked is not None else wait
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _send(self, body: Mapping[str, JSONValue], headers: Mapping[str, str]) -> httpx.Response:
        client = self._client()
        request = client.build_request("POST", self.url, json=body, headers=headers)
        return await client.send(request, stream=True)

    async def _failure(self, response: httpx.Response, wait: float | None, hidden: list[str]) -> ModelError:
        body = b""
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _ERROR_BODY:
                    break
        except httpx.HTTPError:
            pass  # the status says enough
        finally:
            await response.aclose()
        return refused(response.status_code, body[:_ERROR_BODY], self.url, wait=wait, secrets=hidden)

    async def _bytes(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise translated(error, self.url) from error
