"""A service over a project in a temporary folder, asked in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import sartor
from sartor import asgi
from sartor.server.service import Service

SUPPORT = """
title: Acme support
grounding: free
retrieval: {passages: 0}
web: {origins: ["https://shop.example"], anonymous: true, suggestions: ["Where are you?"]}
"""


@dataclass
class Served:
    """A running service, a client of it, and keys of its tenants."""

    service: Service
    client: httpx.AsyncClient
    bots: sartor.Bots

    async def key(self, tenant: str = "acme", *scopes: str, **about: float) -> dict[str, str]:
        """The headers of a new key."""
        key, _ = await self.service.keys.create(tenant, scopes=frozenset(scopes or {"chat"}), **about)  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {key}"}

    async def session(self, bot: str = "acme/support", **told: str) -> dict[str, str]:
        """The headers of a visitor's new session."""
        origin = {"Origin": "https://shop.example"}
        made = await self.client.post("/v1/sessions", json={"bot": bot, **told}, headers=origin)
        assert made.status_code == 201, made.text
        return {"Authorization": f"Bearer {made.json()['token']}"}


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(make_project) -> Serve:
    """``async with serve(script=[…], files={…}) as served``: the tenants acme and rival, each with a bot support."""

    @asynccontextmanager
    async def serving(
        *, script: object = (), files: dict[str, str] | None = None, sartor_yaml: str = "", delay: float = 0
    ) -> AsyncIterator[Served]:
        told = {
            "tenants/acme/support/bot.yaml": SUPPORT,
            "tenants/rival/support/bot.yaml": SUPPORT,
            **(files or {}),
        }
        root = make_project(told, script=script)
        path = root / "sartor.yaml"
        path.write_text(path.read_text().replace("choices: false", f"choices: false, delay: {delay}") + sartor_yaml)
        app = asgi.app(root)
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
