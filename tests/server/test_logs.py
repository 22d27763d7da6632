"""Logs: one line an event, with whose it is, and nothing of what anybody wrote."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator

import pytest
from sartor.errors import ModelError
from sartor.observing import TRACE_HEADERS
from sartor.server.logs import JSONLines, PlainLines, set_up_logs

CANARY = "canary7"
DESK = f'''
import logging
from sartor import Plugin, hookimpl, tool, Policy, ALLOW

log = logging.getLogger(__name__)

class Desk(Plugin):
    """A tool that raises, a policy that raises: each with a text in the exception."""

    @hookimpl
    def sartor_tools(self, bot):
        @tool
        async def order_status(number: int) -> str:
            "Look up an order."
            try:
                raise KeyError("{CANARY} of the CRM")
            except KeyError as error:
                raise RuntimeError(f"order {{number}} of {CANARY}") from error
        return [order_status]

    @hookimpl
    def sartor_policies(self, bot):
        return [Breaks()]

class Breaks(Policy):
    async def input(self, turn, text):
        logging.getLogger("httpx").info("HTTP Request: GET https://crm.example/?q=%s", text)
        log.info("a line of a plugin")
        if "break" in text:
            raise ValueError(text)
        return ALLOW
'''
SUPPORT = f"title: x\ngrounding: free\nretrieval: {{passages: 0}}\ninstructions: be {CANARY}\nplugins: {{desk: {{}}}}\n"
FILES = {"tenants/acme/support/bot.yaml": SUPPORT, "plugins/desk.py": DESK}

SetUp = Callable[..., io.StringIO]


@pytest.fixture
def logs() -> Iterator[SetUp]:
    """``logs("json", content=False)``: what is logged from then on, until the end of the test."""
    root = logging.getLogger()
    names = ["sartor", "sartor_plugins", "sartor_project_plugins", "uvicorn"]
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]

    def set_up(form: str = "json", **options: object) -> io.StringIO:
        stream = io.StringIO()
        set_up_logs(form, stream=stream, **options)  # type: ignore[arg-type]
        return stream

    yield set_up
    logging.captureWarnings(False)
    root.handlers[:], root.level = before[0], before[1]
    for name, level in zip(names, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def several_turns(serve, **options: object) -> tuple[str, list[str]]:
    """Turns that go well, fail, break a tool, break a policy, and requests that are refused: the key and ids."""
    script = [f"I am {CANARY}.", {"call": "order_status", "arguments": {"number": 7}}, CANARY, "FAIL"]
    async with serve(script=script, files=FILES, **options) as served:
        key = await served.key()
        session = await served.session("rival/support")
        ids = []
        for text in (f"{CANARY}?", f"Order of {CANARY}?", f"break {CANARY}", f"{CANARY} fails"):
            asked = {"bot": "support", "text": text, "user": f"user-{CANARY}", "conversation": f"c-{CANARY}"}
            answer = await served.client.post(f"/v1/turns?q={CANARY}", json=asked, headers=key)
            assert answer.status_code == 200, answer.text
            ids.append(answer.json()["id"])
        await served.client.get(f"/v1/turns/{CANARY}", headers=key)
        await served.client.get(f"/{CANARY}")
        await served.client.get("/v1/conversations", headers={"Authorization": f"Bearer {CANARY}"})
        await served.client.post("/v1/turns", content=f'{{"text": "{CANARY}', headers=key)
        await served.client.post("/v1/turns", json={"bot": CANARY, "text": CANARY}, headers=session)
        await served.client.post("/v1/turns", json={"bot": "support", "text": CANARY, CANARY: 1}, headers=key)
        return key["Authorization"].removeprefix("Bearer ") + " " + session["Authorization"], ids


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_text_no_user_no_conversation_and_no_key_gets_into_the_logs(serve, logs, form):
    stream = logs(form)
    secrets, ids = await several_turns(serve)
    told = stream.getvalue()
    assert CANARY not in told
    for secret in secrets.replace("Bearer ", "").split():
        assert secret not in told and secret[-20:] not in told
    for id_ in ids:
        assert id_ in told
    assert "ValueError" in told and "RuntimeError" in told and "a line of a plugin" in told


async def test_with_content_messages_of_exceptions_are_logged(serve, logs):
    stream = logs(content=True)
    await several_turns(serve)
    raised = [line["exception"] for line in lines(stream) if "exception" in line]
    assert any(error["message"] == f"order 7 of {CANARY}" for error in raised)
    assert any(error.get("cause", {}).get("message") == f"'{CANARY} of the CRM'" for error in raised)


async def test_lines_of_a_turn_say_whose_they_are(serve, logs):
    stream = logs()
    _, ids = await several_turns(serve)
    found = lines(stream)
    for line in found:
        if line.get("turn"):
            assert (line["tenant"], line["bot"]) == ("acme", "support") and line["request"].startswith("req_")
    over = [line for line in found if line["message"] == "turn is over"]
    assert [(line["turn"], line["outcome"]) for line in over] == list(
        zip(ids, ["answered", "answered", "blocked", "failed"], strict=True)
    )
    assert all(line["seconds"] >= 0 and line["tokens"] >= 0 for line in over) and over[0]["first_text"] > 0
    broken = next(line for line in found if line["level"] == "error" and line["logger"] == "sartor.policy")
    assert broken["turn"] == ids[2] and broken["exception"]["type"] == "ValueError"
    assert re.fullmatch(r"sartor_project_plugins\.desk\w*:\d+ input", broken["exception"]["places"][-1])
    tool = next(line for line in found if line["level"] == "error" and line["logger"] == "sartor.tools")
    assert tool["turn"] == ids[1] and tool["exception"]["cause"]["type"] == "KeyError"
    plugin = next(line for line in found if line["message"] == "a line of a plugin")
    assert plugin["turn"] == ids[0]


async def test_each_request_is_a_line_with_the_template_of_its_path(serve, logs):
    stream = logs()
    async with serve(script=["Hello."]) as served:
        key = await served.key()
        asked = {"bot": "support", "text": "Hi"}
        answer = await served.client.post("/v1/turns", json=asked, headers={**key, "X-Request-Id": "r-1"})
        await served.client.get(f"/v1/turns/{answer.json()['id']}?q=1", headers=key)
        await served.client.get("/nothing")
        await served.client.get("/healthz")
    found = [line for line in lines(stream) if line["logger"] == "sartor.access"]
    told = [(line["method"], line["route"], line["status"], line.get("tenant")) for line in found]
    assert told == [
        ("POST", "/v1/turns", 200, "acme"),
        ("GET", "/v1/turns/{turn}", 200, "acme"),
        ("GET", "other", 404, None),
    ]
    assert found[0]["request"] == "r-1" and found[0]["bytes"] == len(answer.content) and found[0]["seconds"] > 0
    assert set(found[0]) == {
        *("time", "level", "logger", "message", "request", "tenant"),
        *("method", "route", "status", "seconds", "bytes"),
    }


async def test_health_checks_are_logged_only_when_debugging(serve, logs):
    stream = logs(level="debug")
    async with serve() as served:
        await served.client.get("/healthz")
    found = [line for line in lines(stream) if line["logger"] == "sartor.access"]
    assert [(line["level"], line["route"]) for line in found] == [("debug", "/healthz")]


async def test_a_client_that_goes_away_is_told_from_one_that_was_answered(serve, logs):
    stream = logs()
    async with serve(script=["slow " * 50], delay=0.05) as served:
        asked = {"bot": "support", "text": "Hi"}
        asking = asyncio.create_task(served.client.post("/v1/turns", json=asked, headers=await served.key()))
        while not served.service.live.running:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    (line,) = [line for line in lines(stream) if line["logger"] == "sartor.access"]
    assert line["status"] == 499


def record(message: object, *arguments: object, name: str = "sartor.x", **more: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "x.py", 1, message, arguments, **{"exc_info": None, **more})  # type: ignore[arg-type]


def test_a_line_is_json_with_the_time_by_rfc_3339():
    told = json.loads(JSONLines().format(record("hello %s", "you")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {"level": "info", "logger": "sartor.x", "message": "hello you"}


def test_an_exception_in_a_message_is_told_by_its_type_unless_it_is_our_own():
    line = JSONLines().format(record("failed: %s and %s", ValueError(CANARY), ModelError("no model", where="x.gguf")))
    assert json.loads(line)["message"] == "failed: ValueError and x.gguf: no model"
    assert json.loads(JSONLines().format(record(ValueError(CANARY))))["message"] == "ValueError"
    told = json.loads(JSONLines().format(record(OSError(98, "address already in use", CANARY))))["message"]
    assert told == "OSError: address already in use"
    assert json.loads(JSONLines().format(record("%(why)s", {"why": ValueError(CANARY)})))["message"] == "ValueError"


@pytest.mark.parametrize("arguments", [("one", "two"), ({"other": 1},), (1,)])
def test_a_mistake_in_a_call_of_the_log_loses_no_line(arguments):
    assert json.loads(JSONLines().format(record("%(name)d", *arguments)))["message"] == "%(name)d"


def test_what_no_one_wrote_down_is_not_told():
    odd = record("hello")
    odd.text = odd.user = CANARY
    assert CANARY not in JSONLines().format(odd) and CANARY not in PlainLines().format(odd)


def test_a_task_that_nobody_waited_for_is_logged_without_what_it_raised(logs):
    stream = logs()

    async def breaks() -> None:
        raise ValueError(CANARY)

    async def main() -> None:
        task = asyncio.create_task(breaks())
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(main())
    (line,) = lines(stream)
    assert line["message"] == "Task exception was never retrieved" and line["exception"]["type"] == "ValueError"
    assert CANARY not in stream.getvalue()


def test_groups_and_long_chains_are_told_in_short():
    error: Exception = ExceptionGroup("many", [ValueError("a"), KeyError("b")])
    for number in range(20):
        try:
            raise RuntimeError(str(number)) from error
        except RuntimeError as raised:
            error = raised
    told = json.loads(JSONLines().format(record("x", exc_info=(type(error), error, error.__traceback__))))["exception"]
    depth = 0
    while cause := told.get("cause"):
        depth, told = depth + 1, cause
    assert depth == 3
    group = ExceptionGroup("many", [ValueError("a"), KeyError("b")])
    line = JSONLines().format(record("x", exc_info=(type(group), group, None)))
    assert json.loads(line)["exception"] == {"type": "ExceptionGroup", "places": [], "of": ["ValueError", "KeyError"]}


def test_a_line_for_a_terminal_cannot_be_forged():
    told = PlainLines(colours=True).format(record("a\nb \x1b[31m %s", "c\rd\x9b"))
    assert "\n    b \\x1b[31m c\\x0dd\\x9b" in told and told.count("\x1b[") == 2
    assert "\x1b" not in PlainLines().format(record("plain"))


def test_warnings_are_lines_too(logs):
    stream = logs()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("watch out", UserWarning, stacklevel=1)
    logging.captureWarnings(False)
    assert "watch out" in lines(stream)[0]["message"]


async def test_a_request_hands_its_trace_on_to_the_turn(serve):
    from sartor.observing import Observer

    seen: list[dict[str, str]] = []

    class Watch(Observer):
        def turn_started(self, turn):
            seen.append(dict(TRACE_HEADERS.get()))

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serve(script=["Hello.", "Hello."]) as served:
        served.bots.observers.append(Watch())
        asked, key = {"bot": "support", "text": "Hi"}, await served.key()
        await served.client.post("/v1/turns", json=asked, headers={**key, "traceparent": parent})
        await served.client.post("/v1/turns", json=asked, headers=key)
    assert seen == [{"traceparent": parent}, {}]


async def test_a_turn_over_mcp_that_fails_is_logged_without_why(serve, logs):
    stream = logs()
    asked = {"name": "ask", "arguments": {"question": CANARY}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
    about = {"Accept": "application/json, text/event-stream", "Mcp-Method": "tools/call", "Mcp-Name": "ask"}
    async with serve(script=["FAIL"]) as served:
        answer = await served.client.post("/mcp/acme/support", json=call, headers={**await served.key(), **about})
    assert answer.status_code == 200 and "broke" not in stream.getvalue() and CANARY not in stream.getvalue()
    (line,) = [line for line in lines(stream) if line["level"] == "error"]
    assert line["logger"] == "sartor.mcp" and line["tenant"] == "acme"
