"""The examples: each runs as its README says, with the built-in model, and does what it is there to show."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from sartor_plugins.builtin import MODEL

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not there")


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Iterator[object]:
    """`copy("fastapi_shop", "hazel")`: a copy of an example, from which its package can be imported."""
    packages: list[str] = []

    def copied(example: str, package: str = "") -> Path:
        folder = tmp_path / example
        shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("state", "*.db", "__pycache__"))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.chdir(folder)
        packages.append(package)
        return folder

    yield copied
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


class Shop:
    """The shop of the FastAPI example as its customers see it."""

    origin = "http://127.0.0.1:8000"

    def __init__(self, app: ModuleType) -> None:
        self.app = app

    @asynccontextmanager
    async def browser(self, name: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """The browser of a customer who signs in, or of a visitor."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app.shop), base_url=self.origin) as client:
            if name:
                assert (await client.post("/login", data={"name": name})).status_code == 303
            yield client

    async def ask(self, browser: httpx.AsyncClient, text: str) -> dict[str, object]:
        """What the widget on the page does: a session by the page's token, then a message."""
        page = (await browser.get("/")).text
        found = re.search(r'<script src="/bots/widget.js" data-bot="([^"]+)" (?:data-token="([^"]+)")?></script>', page)
        asked = {"bot": found[1], **({"token": found[2]} if found[2] else {})}
        session = await browser.post("/bots/v1/sessions", json=asked, headers={"Origin": self.origin})
        assert session.status_code == 201, session.text
        assert session.json()["user_kind"] == ("user" if found[2] else "visitor")
        bearer = {"Authorization": f"Bearer {session.json()['token']}"}
        answer = await browser.post("/bots/v1/turns", json={"text": text}, headers=bearer)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def shop(copy) -> AsyncIterator[Shop]:
    copy("fastapi_shop", "hazel")
    app = importlib.import_module("hazel.app")
    async with app.shop.router.lifespan_context(app.shop):
        yield Shop(app)


async def test_a_shop_s_bot_tells_customers_of_their_own_orders_and_of_no_other(shop):
    async with shop.browser("ada") as ada, shop.browser("bob") as bob:
        own = await shop.ask(ada, "Where is my order HC-1001?")
        other = await shop.ask(bob, "Where is my order HC-1001?")
        assert "arrives on Friday" in own["text"] and [tool["name"] for tool in own["tools"]] == ["orders"]
        assert other["text"] == "You have no order HC-1001."
        assert (await ada.post("/orders", data={"product": "sidamo"})).status_code == 303
        listed = await shop.ask(ada, "What are my latest orders?")
        assert listed["text"].splitlines()[0] == "HC-1004, Sidamo, 250 g, paid" and "HC-1003" not in listed["text"]


async def test_a_shop_s_visitor_gets_answers_with_a_source_and_no_orders(shop):
    async with shop.browser() as visitor:
        told = await shop.ask(visitor, "How long do roasted beans keep?")
        assert told["text"].startswith("Roasted beans keep for six weeks in the closed bag.")
        assert [citation["source"] for citation in told["citations"]] == ["coffee.md"]
        order = await shop.ask(visitor, "Where is my order HC-1001?")
        assert order["outcome"] == "unknown" and order["tools"] == []
        assert (await visitor.get("/chat-token")).status_code == 401


async def test_a_shop_s_token_for_the_chat_is_renewed_and_signs_nobody_in_to_the_shop(shop):
    async with shop.browser("ada") as ada, shop.browser() as thief:
        token = (await ada.get("/chat-token")).json()["token"]
        thief.cookies.set("hazel_login", token)
        assert (await thief.post("/orders", data={"product": "house"})).status_code == 401
        headers = {"Origin": shop.origin}
        asked = {"bot": "hazel/support", "token": shop.app.sign_login("ada")}
        assert (await ada.post("/bots/v1/sessions", json=asked, headers=headers)).status_code == 401
        asked["token"] = token
        assert (await ada.post("/bots/v1/sessions", json=asked, headers=headers)).status_code == 201
