"""A declared request as a tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from sartor.errors import PluginError
from sartor.spec import Limits
from sartor.toolbox import check_call, run_tool
from sartor.tools import Tool
from sartor.values import BotInfo, JSONValue, Origin, ToolCall, ToolResult, Turn
from sartor_plugins.http_tools import HttpPlugin, HttpSettings
from sartor_plugins.reach.breaker import Breaker, Outage
from sartor_plugins.reach.picking import columns_of, pick

TURN = Turn("t", "c", "acme", "support", "anna", "?", attributes={"customer": 7})
TICKET = {
    "describe": "Open a ticket at the help desk.",
    "method": "POST",
    "url": "https://desk.example/api/queues/{queue}/tickets",
    "body": {"subject": "Chat: {subject}", "customer": "{customer}", "due": "{due}", "source": "chat", "none": None},
    "arguments": {
        "queue": {},
        "subject": {"longest": 20},
        "customer": {"type": "integer"},
        "due": {"type": "date", "optional": True},
        "urgent": {"type": "boolean", "optional": True, "default": False},
    },
    "bind": {"customer": "turn:attributes.customer"},
}


class Wire(httpx.AsyncBaseTransport):
    """Answers what it is told, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, json={"id": 1})
        if isinstance(answer, Exception):
            raise answer
        return answer


def made(wire: Wire, told: Mapping[str, object], directory: Path = Path(".")) -> Tool:
    plugin = HttpPlugin(HttpSettings.model_validate({"requests": {"ask": told}}), directory)
    plugin._services["ask"]._transport = wire
    (tool,) = plugin.sartor_tools(BotInfo("acme", "support", directory, directory))
    return tool


async def call(tool: Tool, turn: Turn = TURN, **arguments: JSONValue) -> ToolResult:
    request = ToolCall("1", tool.name, arguments, {name: frozenset({Origin.USER}) for name in arguments})
    checked = check_call({tool.name: tool}, request, "")
    if isinstance(checked, ToolResult):
        return checked
    return await run_tool(tool, request, checked[1], turn, Limits())


async def test_a_request_is_filled_in(monkeypatch):
    monkeypatch.setenv("DESK", "token-of-acme")
    wire = Wire(httpx.Response(201, json={"ticket": {"id": 9, "key": "token-of-acme", "more": 1}}))
    tool = made(
        wire,
        {**TICKET, "headers": {"Authorization": "Bearer env:DESK"}, "pick": ["ticket"], "columns": ["id", "key"]},
    )
    assert tool.acts and set(tool.schema["properties"]) == {"queue", "subject", "due", "urgent"}
    assert (await call(tool, queue="a/b", subject="Brakes")).text == '{"id": 9, "key": "•••"}'
    (asked,) = wire.asked
    assert str(asked.url) == "https://desk.example/api/queues/a%2Fb/tickets?urgent=false"
    assert json.loads(asked.content) == {"subject": "Chat: Brakes", "customer": 7, "source": "chat", "none": None}
    assert asked.headers["authorization"] == "Bearer token-of-acme"
    await call(tool, queue="q", subject='x", "admin": true', due="2026-03-01", urgent=True)
    assert json.loads(wire.asked[1].content)["subject"] == 'Chat: x", "admin": true'
    assert (await call(tool, queue="..", subject="x")).text == "Error: ask failed: queue cannot be '..'"
    assert "too long" in (await call(tool, queue="q", subject="x" * 21)).text
    assert len(wire.asked) == 2


async def test_what_may_be_sent_again():
    lost, read = httpx.ConnectError("x"), httpx.ReadTimeout("x")
    wire = Wire(lost, read)
    text = (await call(made(wire, TICKET), queue="q", subject="x")).text
    assert text.endswith("the service did not answer; whether it was done is not known") and len(wire.asked) == 2
    wire = Wire(lost, read, httpx.Response(503))
    get = {"describe": "Look.", "url": "https://desk.example/x", "retries": 3}
    assert (await call(made(wire, get))).text == '{"id": 1}' and len(wire.asked) == 4
    assert not made(wire, get).acts


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (httpx.Response(200, text="open from 9"), "open from 9"),
        (httpx.Response(200, text='{"a": NaN}'), '{"a": NaN}'),
        (httpx.Response(204), "nothing was found"),
        (httpx.Response(401, text="secret"), "Error: ask failed: the service refuses it: not allowed"),
        (httpx.Response(422, text="no  such\nday"), "Error: ask failed: the service refuses it (422): no such day"),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), "points elsewhere"),
        (httpx.Response(302, headers={"location": "http://desk.example/x"}), "points elsewhere"),
        (httpx.Response(500, text="Traceback"), "Error: ask failed: the service failed (500)"),
    ],
)
async def test_answers(answer, shown):
    text = (await call(made(Wire(answer), {"describe": "Look.", "url": "https://desk.example/x"}))).text
    assert shown in text and "Traceback" not in text and "secret" not in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"url": "https://{queue}.example/"}, "host of the tool 'ask' is not fixed"),
        ({"url": "https://desk.example{queue}/"}, "host of the tool 'ask' is not fixed"),
        ({"url": "https://desk.example/{other}"}, "no argument 'other'"),
        ({"body": ["{other}"]}, "no argument 'other'"),
        ({"bind": {"other": 1}}, "bind of the tool 'ask' names 'other'"),
        ({"from_user": ["urgent"]}, "neither a text nor a number"),
        ({"from_user": ["customer"]}, "both bind and from_user"),
        ({"headers": {"x": "turn:nothing"}}, "turn:nothing"),
    ],
)
def test_faults_are_told_when_the_bot_is_built(change, what):
    with pytest.raises(PluginError, match=what):
        made(Wire(), TICKET | change)


def test_settings_are_checked():
    for wrong in ({"method": "TRACE"}, {"url": "ftp://x"}, {"basic": ["a"]}, {"arguments": {"x": {"default": 1}}}):
        with pytest.raises(ValidationError):
            HttpSettings.model_validate({"requests": {"ask": TICKET | wrong}})


def test_the_breaker_lets_one_try_again():
    now = [0.0]
    breaker = Breaker(2, 10, lambda: now[0])

    def fail() -> None:
        with breaker.guard():
            raise Outage("down")

    for _ in range(2):
        with pytest.raises(Outage):
            fail()
    with pytest.raises(Exception, match="try again in 10 seconds"):
        fail()
    now[0] = 11
    with breaker.guard(), pytest.raises(Exception, match="out of order"), breaker.guard():
        pass
    with breaker.guard(), breaker.guard():
        pass


def test_picking():
    told = {"data": {"orders": [{"id": 1, "x": 2}, {"x": 3}, {"id": 4}]}}
    assert pick(told, ["data", "orders", "id"]) == [1, 4]
    assert pick(told, ["data", "orders", -1, "id"]) == 4
    assert pick(told, ["data", 0]) is None and pick(told, ["data", "orders", 9]) is None and pick(told, []) == told
    assert columns_of(pick(told, ["data", "orders"]), ["id"]) == [{"id": 1}, {}, {"id": 4}]
