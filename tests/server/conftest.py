"""A service over a project in a temporary folder, asked in process, or over a socket by `serve_real`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import sartor
import uvicorn
from fastapi import FastAPI
from sartor import asgi
from sartor.server.service import Service

SUPPORT = """
title: Acme support
grounding: free
retrieval: {passages: 0}
web: {origins: ["https://shop.example"], anonymous: true, suggestions: ["Where are you?"]}
"""


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: dict
    id: str = ""


@dataclass
class Served:
    """A running service, a client of it, and keys of its tenants."""

    service: Service
    client: httpx.AsyncClient
    bots: sartor.Bots
    server: uvicorn.Server | None = None

    async def key(self, tenant: str = "acme", *scopes: str, **about: float) -> dict[str, str]:
        """The headers of a new key."""
        key, _ = await self.service.keys.create(tenant, scopes=frozenset(scopes or {"chat"}), **about)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {key}"}

    async def until(self, true: Callable[[], object], seconds: float = 5) -> None:
        """Wait until `true()` is."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @staticmethod
    async def events(answer: httpx.Response) -> AsyncIterator[Event]:
        """The events of a response, as they come."""
        fields: dict[str, str] = {}
        async with aclosing(answer.aiter_lines()) as lines:
            async for line in lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                    fields = {}

    async def session(self, bot: str = "acme/support", **told: str) -> dict[str, str]:
        """The headers of a visitor's new session."""
        origin = {"Origin": "https://shop.example"}
        made = await self.client.post("/v1/sessions", json={"bot": bot, **told}, headers=origin)
        assert made.status_code == 201, made.text
        return {"Authorization": f"Bearer {made.json()['token']}"}


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def make_service(make_project) -> Callable[..., FastAPI]:
    """The application of a project with the tenants acme and rival, each with a bot support, speaking `script`; `bot`
    is added to the YAML of acme's."""

    def make(
        *,
        script: object = (),
        files: dict[str, str] | None = None,
        sartor_yaml: str = "",
        delay: float = 0,
        bot: str = "",
    ) -> FastAPI:
        told = {
            "tenants/acme/support/bot.yaml": SUPPORT + bot,
            "tenants/rival/support/bot.yaml": SUPPORT,
            **(files or {}),
        }
        root = make_project(told, script=script)
        path = root / "sartor.yaml"
        path.write_text(path.read_text().replace("choices: false", f"choices: false, delay: {delay}") + sartor_yaml)
        return asgi.app(root)

    return make


@pytest.fixture
def serve(make_service) -> Serve:
    """``async with serve(script=[…], files={…}) as served``: asked in process."""

    @asynccontextmanager
    async def serving(**project: object) -> AsyncIterator[Served]:
        app = make_service(**project)
        async with asgi.running(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                service = app.state.sartor
                yield Served(service, client, service.bots)

    return serving


Speak = Callable[..., AbstractAsyncContextManager[tuple[openai.AsyncOpenAI, Served]]]


@pytest.fixture
def speak(serve: Serve) -> Speak:
    """``async with speak(script=[…]) as (client, served)``: the official client, with a key of acme."""

    @asynccontextmanager
    async def speaking(tenant: str = "acme", **told: Any) -> AsyncIterator[tuple[openai.AsyncOpenAI, Served]]:
        async with serve(**told) as served:
            key = (await served.key(tenant))["Authorization"].removeprefix("Bearer ")
            async with openai.AsyncOpenAI(
                api_key=key, base_url="http://service/v1", http_client=served.client, max_retries=0
            ) as client:
                yield client, served

    return speaking


@pytest.fixture
def serve_real(make_service) -> Serve:
    """Like `serve`, but by uvicorn, over a socket of this machine."""

    @asynccontextmanager
    async def serving(**project: object) -> AsyncIterator[Served]:
        app = make_service(**project)
        config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=10)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(10):
                while not server.started and not task.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=20) as client:
                yield Served(app.state.sartor, client, app.state.sartor.bots, server)
        finally:
            server.should_exit = True
            await task

    return serving
