"""The widget on the service itself: the page of a bot, in process and in a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import sartor
from sartor.server.app import build
from sartor_plugins.builtin import MODEL

KNOWLEDGE = """
# Delivery

Parcels leave our warehouse within one day. Express parcels cost nine euros.
"""

SHOP = """
from sartor import Plugin, hookimpl, tool

@tool(acts=True)
def refund(account: str) -> str:
    "Pay money back."
    return "paid"

class Shop(Plugin):
    @hookimpl
    def sartor_tools(self):
        return [refund]
"""

FILES = {
    "plugins/shop.py": SHOP,
    "tenants/acme/support/bot.yaml": """
        title: Lamps & more
        languages: [en, fr]
        plugins: {shop: {}}
        web: {anonymous: true, suggestions: ["When do parcels leave?"], links: ["help.acme.example", "x;y z"]}
        """,
    "tenants/acme/support/knowledge/delivery.md": KNOWLEDGE,
}


@pytest.fixture
def visit(sites, site) -> Callable[..., object]:
    """Serve a project that is ingested, and open the page of its bot in the browser."""

    @contextmanager
    def visiting(root: Path) -> Iterator[object]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[sartor.Bots]:
            async with sartor.open(root) as bots:
                await bots.knowledge("acme/support").ingest()
                yield bots

        with sites.served(build(opened)) as port:
            sites.browser.get(f"http://127.0.0.1:{port}/chat/acme/support")
            yield site

    return visiting


def test_a_conversation_with_a_bot_of_the_service(visit, make_project):
    call = {"call": "refund", "arguments": {"account": "EVIL-99"}}
    script = ["Parcels leave **within one day** [1].", call, "It was paid."]
    with visit(make_project(FILES, script=script)) as site:
        site.press(".suggestions button")
        site.find("button.cite")
        assert site.text(".turn .text") == "Parcels leave within one day\u00a01.".replace("\u00a0", " ")
        site.press(".rating button")
        site.find(".comment")
        site.ask("Pay my money back", wait=False)
        site.press(".approval .main")
        site.until("root.querySelectorAll('.rating').length === 2")
        assert "EVIL-99" not in site.log() and "It was paid." in site.log()
        site.browser.refresh()
        site.until("root?.querySelectorAll('.rating').length === 2")
        assert "When do parcels leave?" in site.log() and "It was paid." in site.log()
        assert [line for line in site.console() if "Security" in line] == []


def test_a_passage_of_the_service_is_shown(visit, make_project):
    with visit(make_project(FILES, script=["Parcels leave within one day [1]."])) as site:
        site.press(".suggestions button")
        site.press(".chip")
        site.until("root.querySelector('.words')?.textContent.includes('Express parcels cost nine euros.')")
        assert site.text(".origin") == "delivery.md"


def test_a_reply_of_the_service_can_be_stopped_and_a_reload_goes_on(visit, make_project):
    root = make_project(FILES, script=["one two three four five six seven eight nine ten " * 4] * 2)
    yaml = root / "sartor.yaml"
    yaml.write_text(yaml.read_text().replace("choices: false", "choices: false, delay: 0.15"))
    with visit(root) as site:
        site.find(".greeting")
        site.ask("Count", wait=False)
        site.until("root.querySelector('.turn .text').textContent.includes('two')")
        site.browser.refresh()
        site.until("root?.querySelector('.turn .text')?.textContent.includes('six')")
        assert "Count" in site.log()
        site.press(".send[aria-label=Stop]")
        site.until("!root.querySelector('.busy')")
        assert site.text(".foot .note") == "Stopped."


@pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not there")
def test_a_conversation_with_the_built_in_model(visit, make_project):
    yaml = "embeddings: null\nindex: {plugin: memory-index}\n"
    quoting = FILES["tenants/acme/support/bot.yaml"].replace("title:", "grounding: quote\n        title:")
    with visit(make_project({**FILES, "sartor.yaml": yaml, "tenants/acme/support/bot.yaml": quoting})) as site:
        site.find(".greeting")
        site.ask("What do express parcels cost?")
        site.until("root.querySelector('.turn .text').textContent")
        site.find(".rating")


@pytest.mark.parametrize(
    ("web", "status"),
    [
        ("origins: []", 404),
        ("origins: ['https://shop.example']", 404),
        ("origins: ['http://service']", 200),
        ("origins: ['*']", 200),
    ],
)
async def test_the_page_of_a_bot_is_there_where_its_origins_allow_it(serve, web, status):
    files = {"tenants/acme/support/bot.yaml": f"title: x\nweb: {{anonymous: true, {web}}}"}
    async with serve(files=files) as served:
        assert (await served.client.get("/chat/acme/support")).status_code == status
        assert (await served.client.get("/chat/acme/other")).status_code == 404
        assert (await served.client.get("/chat/nobody/support")).status_code == 404


async def test_the_page_of_a_bot_lets_nothing_in(serve):
    async with serve(files=FILES) as served:
        headers = {"Host": "localhost:8000", "Accept-Language": "fr-CA,en;q=0.5"}
        answer = await served.client.get("/chat/acme/support", headers=headers)
    assert answer.status_code == 200 and "Accept-Language" in answer.headers["vary"]
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "data: https://help.acme.example"  # what is no host is left out
    assert '<html lang="fr">' in answer.text and "<title>Lamps &amp; more</title>" in answer.text
    assert not re.search(r"<style|<script>|style=|\son\w+=", answer.text)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", 201),
        ("http://localhost:8000", "localhost:8000", 201),
        ("http://[::1]:8000", "[::1]:8000", 201),
        ("http://127.0.0.1:9999", "127.0.0.1:8000", 403),
        ("http://evil.example", "evil.example", 403),
        ("http://localhost.evil.example", "localhost.evil.example", 403),
        ("null", "localhost:8000", 403),
    ],
)
async def test_only_the_service_s_own_page_needs_no_origin_in_the_yaml(serve, origin, host, status):
    async with serve() as served:
        headers = {"Origin": origin, "Host": host}
        made = await served.client.post("/v1/sessions", json={"bot": "acme/support"}, headers=headers)
        assert made.status_code == status


async def test_a_session_speaks_the_nearest_language(serve):
    files = {"tenants/acme/support/bot.yaml": "languages: [en, fr]\nweb: {anonymous: true, origins: ['*']}"}
    async with serve(files=files) as served:
        for asked, greeting in (("fr-CA", "Bonjour"), ("FR", "Bonjour"), ("de", "Hello"), ("", "Hello")):
            body = {"bot": "acme/support", "language": asked}
            made = (await served.client.post("/v1/sessions", json=body)).json()
            assert made["bot"]["greeting"].startswith(greeting)
