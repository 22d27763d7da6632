"""The examples: each runs as its README says, with the built-in model, and does what it is there to show."""

from __future__ import annotations

import asyncio
import csv
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import sartor
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
        assert "sartor-chat" in (await visitor.get("/bots/widget.js")).text
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


@contextmanager
def serving(folder: Path, application: str) -> Iterator[str]:
    """The address of `application`, served by uvicorn in a process of its own, which must end well when told to."""
    command = [sys.executable, "-m", "uvicorn", application, "--port", "0", "--no-access-log"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        told: list[str] = []
        try:
            for line in process.stderr:
                told.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    break
            else:
                pytest.fail("".join(told))
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            told += process.stderr.readlines()
        assert "Application shutdown complete" in "".join(told), "".join(told)


def sign_in(browser: httpx.Client, card: str, password: str) -> None:
    form = {"username": card, "password": password, "csrfmiddlewaretoken": token_of(browser, "/login/")}
    assert browser.post("/login/", data=form).status_code == 302


def token_of(browser: httpx.Client, page: str) -> str:
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(page).text)[1]


def streamed(
    browser: httpx.Client, text: str, conversation: str = "", until: str = ""
) -> list[tuple[str, dict[str, object], float]]:
    """The events of the answer to `text`: name, data, and when it came; all, or up to the first one named `until`."""
    form = {"text": text, "conversation": conversation, "csrfmiddlewaretoken": token_of(browser, "/")}
    found = []
    with browser.stream("POST", "/stream/", data=form) as response:
        assert response.headers["content-type"] == "text/event-stream"
        for line in response.iter_lines():
            if line.startswith("event: "):
                name, came = line.removeprefix("event: "), time.perf_counter()
            elif line:
                found.append((name, json.loads(line.removeprefix("data: ")), came))
                if name == until:
                    break
    return found


def test_a_django_site_streams_answers_to_readers_and_chats_with_visitors(copy):
    folder = copy("django_site")
    with serving(folder, "library.asgi:application") as address:
        with httpx.Client(base_url=address) as reader, httpx.Client(base_url=address) as other:
            sign_in(reader, "ada", "engine")
            sign_in(other, "bob", "bridge")
            events = streamed(reader, "How long may books be kept?")
            assert [name for name, *_ in events] == ["started", "delta", "finished"]
            assert events[-1][1] == {"text": "Books may be kept for four weeks. [1]", "sources": ["loans.md"]}
            conversation = events[0][1]["conversation"]
            assert streamed(reader, "And films?", conversation=conversation)[-1][0] == "finished"
            assert streamed(other, "And films?", conversation=conversation)[-1][0] == "failed"
            form = {"text": "When is the library open?", "csrfmiddlewaretoken": token_of(reader, "/")}
            page = reader.post("/", data=form).text
            assert "from 10:00 to 19:00 on weekdays" in page and "<li>visit.md</li>" in page
        with httpx.Client(base_url=address) as visitor:
            assert 'src="/bots/widget.js" data-bot="marlow/desk"' in visitor.get("/").text
            assert "sartor-chat" in visitor.get("/bots/widget.js").text
            assert visitor.post("/stream/", data={"text": "Hello"}).status_code == 403
            origin = {"Origin": "http://127.0.0.1:8000"}
            session = visitor.post("/bots/v1/sessions", json={"bot": "marlow/desk"}, headers=origin).json()
            bearer = {"Authorization": f"Bearer {session['token']}"}
            told = visitor.post("/bots/v1/turns", json={"text": "What does a lost card cost?"}, headers=bearer).json()
            assert told["text"] == "A lost card costs 5 EUR. [1]" and told["citations"][0]["source"] == "loans.md"


SLOW = """
from sartor import Plugin, hookimpl
from sartor.testing import ScriptedModel

class Slow(Plugin):
    "A model that takes its time."

    @hookimpl
    def sartor_model(self):
        return ScriptedModel(script=["Books may be kept for four weeks, and films for one."] * 2, delay=0.1)
"""


async def test_a_django_view_streams_piece_by_piece_and_stops_with_its_reader(copy):
    folder = copy("django_site")
    (folder / "bots/plugins").mkdir()
    (folder / "bots/plugins/slow.py").write_text(SLOW)
    (folder / "bots/sartor.yaml").write_text("model: slow\nmodels: {slow: {plugin: slow}}\n")
    (folder / "bots/tenants/marlow/desk/bot.yaml").write_text("title: Marlow Library\n")
    with serving(folder, "library.asgi:application") as address, httpx.Client(base_url=address) as reader:
        sign_in(reader, "ada", "engine")
        events = streamed(reader, "How long may books be kept?")
        pieces = [(data["text"], came) for name, data, came in events if name == "delta"]
        assert len(pieces) > 5 and "".join(text for text, _ in pieces) == events[-1][1]["text"]
        assert pieces[-1][1] - pieces[0][1] > 0.3
        left = streamed(reader, "How long may books be kept?", until="delta")
        async with sartor.open(folder / "bots") as bots:
            for _ in range(100):
                if turns := await bots.store.tenant("marlow").turns(left[0][1]["conversation"], 1):
                    break
                await asyncio.sleep(0.05)
        assert turns[0].reply.outcome == "cancelled" and len(turns[0].reply.text) < len(events[-1][1]["text"])


@pytest.fixture
def answer(copy, monkeypatch, capsys):
    """`answer("--price", "1", "2")` runs the script: its exit code, what it said, and the rows that it wrote."""
    folder = copy("plain_script", "answer")
    script = importlib.import_module("answer")

    def run(*arguments: str) -> tuple[int, str, list[dict[str, str]]]:
        monkeypatch.setattr(sys, "argv", ["answer.py", "questions.csv", "answers.csv", *arguments])
        code, told = script.main(), capsys.readouterr()
        with (folder / "answers.csv").open(encoding="utf-8", newline="") as file:
            return code, told.out + told.err, list(csv.DictReader(file))

    return run


def test_a_script_answers_a_questionnaire_and_goes_on_where_it_stopped(answer):
    Path("questions.csv").write_text("id,question\n1,How long does the crossing take?\n2,\n")
    code, told, rows = answer("--price", "0.15", "0.60")
    assert code == 1 and "2: the message is empty" in told and [row["id"] for row in rows] == ["1"]
    first = rows[0]
    assert first["answer"] == "The crossing takes 40 minutes. [1]" and first["sources"] == "crossing.md"
    spent = int(first["prompt_tokens"]) * 0.15 + int(first["generated_tokens"]) * 0.60
    assert first["outcome"] == "answered" and float(first["cost"]) == pytest.approx(spent / 1e6, abs=1e-6)
    with Path("answers.csv").open("a", encoding="utf-8") as file:
        file.write('2,"How much does an adult')  # as if it had been stopped while it wrote
    shutil.copy(EXAMPLES / "plain_script/questions.csv", ".")
    code, told, rows = answer()
    assert code == 0 and "1:" not in told and rows[0] == first
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[1]["answer"] == "An adult ticket costs 9.50 EUR. [1]"
    assert rows[4]["outcome"] == "unknown" and rows[4]["sources"] == ""
