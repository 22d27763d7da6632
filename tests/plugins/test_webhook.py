"""The plugin `webhook`: messages in and turns out, signed as Standard Webhooks say."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sartor
from hypothesis import given
from hypothesis import strategies as st
from sartor.channels import Channel, Message, Notice, Request
from sartor.delivery import Patience
from sartor.errors import DeliveryError, PluginError, UsageError
from sartor.intake import Intake
from sartor.values import BotInfo, Citation, HandOver, Outcome, Reply, Turn
from sartor_plugins.webhook import WebhookChannel, WebhookPlugin, WebhookSettings
from sartor_plugins.webhook.signature import key_of, signature, signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
NOW = 1_614_265_330.0
URL = "https://shop.example/replies"


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)
    monkeypatch.setenv("HOOK_OLD", OTHER)


def by_hand(secret: str, id_: str, stamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()


def request(told: object, secret: str = SECRET, id_: str = "msg_1", now: float = NOW, **headers: str) -> Request:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    stamp = str(int(now))
    made = {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": by_hand(secret, id_, stamp, body)}
    return Request("POST", {**made, **{name.replace("_", "-"): value for name, value in headers.items()}}, body)


def channel(
    answer: Callable[[httpx.Request], httpx.Response] | None = None, now: float = NOW, **told: object
) -> WebhookChannel:
    made = WebhookSettings.model_validate({"secrets": ["env:HOOK"], "url": URL, **told})
    info = BotInfo("acme", "support", Path(), Path())
    transport = httpx.MockTransport(answer or (lambda _: httpx.Response(204)))
    return WebhookChannel(info, made, Path(), now=lambda: now, transport=transport)


HI = {"user": "u-17", "text": "Hi"}


# Signatures


def test_the_signature_of_the_reference_implementations():
    body = b'{"test": 2432232314}'
    given = signature(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert given == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_é"]
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret):
    with pytest.raises(UsageError, match="none of Standard Webhooks") as caught:
        key_of(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook_signature": "é"},
        {"webhook_id": "msg_2"},
        {"webhook_id": ""},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": "1614265331"},
        {"webhook_timestamp": "９"},
        {"webhook_timestamp": "9" * 5000},
    ],
)
async def test_a_request_that_is_not_signed_is_refused_without_a_word(headers):
    told = await channel().receive(request(HI, **headers))
    assert (told.answer.status, told.answer.body, told.messages) == (401, b"", ())


async def test_a_changed_body_or_another_secret_is_refused():
    good = request(HI)
    assert (await channel().receive(Request("POST", good.headers, good.body + b" "))).answer.status == 401
    assert (await channel().receive(request(HI, OTHER))).answer.status == 401
    assert (await channel().receive(Request("GET"))).answer.status == 405


@pytest.mark.parametrize(("age", "status"), [(300, 202), (-300, 202), (301, 401), (-301, 401)])
async def test_a_request_of_long_ago_is_refused(age, status):
    assert (await channel().receive(request(HI, now=NOW - age))).answer.status == status


async def test_any_of_several_signatures_and_secrets_will_do():
    several = request(HI)
    both = f"v2,x {several.headers['webhook-signature']} v1,y"
    assert (await channel().receive(request(HI, webhook_signature=both))).messages
    rotating = channel(secrets=["env:HOOK", "env:HOOK_OLD"])
    for secret in (SECRET, OTHER):
        assert (await rotating.receive(request(HI, secret))).messages


@given(st.binary(max_size=40), st.text(st.characters(codec="latin-1"), max_size=40))
def test_no_header_breaks_the_check(body, text):
    headers = {"webhook-id": text, "webhook-timestamp": text, "webhook-signature": text}
    assert not signed([key_of(SECRET)], headers, body, NOW)


# Messages


async def test_a_message_says_who_wrote_what():
    told = {**HI, "conversation": "c1", "language": "fr", "audience": "business", "attributes": {"number": 7}}
    received = await channel().receive(request(told))
    assert (received.answer.status, json.loads(received.answer.body)) == (202, {"id": "msg_1"})
    assert received.messages == (
        Message("Hi", "u-17", "msg_1", "c1", language="fr", audience="business", attributes={"number": 7}),
    )


async def test_an_id_of_the_message_s_own_goes_before_that_of_the_header():
    [one] = (await channel().receive(request({**HI, "id": "m-1"}))).messages
    [again] = (await channel().receive(request({**HI, "id": "m-1"}, id_="msg_2"))).messages
    assert one.event == again.event == "m-1"


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (b"", "the body"),
        (b"[]", "the body"),
        (b'{"user": "u", "text": "x", "attributes": {"a": NaN}}', "the body"),
        (b'{"user": "u", "text": "x", "attributes": {"a": 1e999}}', "the body"),
        (b"[" * 100_000, "the body"),
        (b"\xff", "the body"),
        ({"user": "u"}, "text: Field required"),
        ({"text": "x"}, "user: Field required"),
        ({**HI, "text": ""}, "text"),
        ({**HI, "user": 7}, "user"),
        ({**HI, "reply_url": "http://169.254.169.254/"}, "reply_url"),
        ({**HI, "id": "x" * 201}, "id"),
        ({**HI, "id": "a\nERROR b"}, "id"),
        ({**HI, "attributes": []}, "attributes"),
    ],
)
async def test_a_message_that_is_none_is_answered_with_what_is_wrong(told, fault):
    received = await channel().receive(request(told))
    assert received.answer.status == 400 and not received.messages
    assert fault in json.loads(received.answer.body)["error"]


async def test_an_id_that_is_too_long_is_refused():
    assert (await channel().receive(request(HI, id_="x" * 201))).answer.status == 400


async def test_in_mode_sync_the_request_waits():
    received = await channel(mode="sync", url="").receive(request(HI))
    assert received.answer is None and len(received.messages) == 1


# Replies


def reply() -> Reply:
    turn = Turn("t1", "c1", "acme", "support", "u-17", "Hi")
    return Reply(turn, "Höi [1]", Outcome.ANSWERED, (Citation(1, "p1", "a.md", "A", "quote"),))


async def test_a_reply_is_a_turn_signed_by_every_secret():
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"x" * 100)

    made = channel(answer, secrets=["env:HOOK", "env:HOOK_OLD"])
    message = Message("Hi", "u-17", "msg_1")
    [part] = made.write(message, reply())
    await made.send(message, part)
    await made.close()
    [sent] = seen
    assert str(sent.url) == URL and sent.headers["content-type"] == "application/json"
    told = json.loads(sent.content)
    assert told == {
        "object": "turn",
        "id": "t1",
        "reply_to": "msg_1",
        "conversation": "c1",
        "bot": "acme/support",
        "user": "u-17",
        "status": "completed",
        "outcome": "answered",
        "question": "Hi",
        "text": "Höi [1]",
        "citations": [{"number": 1, "title": "A", "source": "a.md", "quote": "quote"}],
        "tools": [],
        "usage": {"prompt": 0, "cached": 0, "generated": 0},
        "created": None,
    }
    assert sent.headers["webhook-id"] == "t1"
    stamp = sent.headers["webhook-timestamp"]
    assert sent.headers["webhook-signature"].split(" ") == [
        by_hand(secret, "t1", stamp, sent.content) for secret in (SECRET, OTHER)
    ]


@pytest.mark.parametrize(
    ("status", "again"),
    [(500, True), (503, True), (429, True), (408, True), (400, False), (404, False), (410, False), (302, False)],
)
async def test_whether_a_refused_reply_is_sent_again_depends_on_the_status(status, again):
    headers = {"retry-after": "7", "location": "http://169.254.169.254/"}
    made = channel(lambda _: httpx.Response(status, headers=headers))
    with pytest.raises(DeliveryError, match=f"answered {status}") as caught:
        await made.send(Message("Hi", "u", "e"), made.write(Message("Hi", "u", "e"), reply())[0])
    assert (caught.value.again, caught.value.retry_after) == (again, 7)


async def test_a_program_that_is_not_there_is_tried_again():
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    made = channel(answer)
    with pytest.raises(DeliveryError, match="cannot be reached: ConnectError") as caught:
        await made.send(Message("Hi", "u", "e"), made.write(Message("Hi", "u", "e"), reply())[0])
    assert caught.value.again


# A whole project


@dataclass
class Shop:
    """Takes replies; the next `failures` are refused with 503."""

    failures: int = 0
    seen: list[tuple[dict[str, str], dict[str, object]]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.seen.append(({**headers, "": first}, json.loads(body)))
        status = "503 Later" if self.failures else "200 OK"
        self.failures = max(0, self.failures - 1)
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def opened(root: Path, **options: object) -> AsyncIterator[tuple[sartor.Bots, Intake]]:
    async with sartor.open(root) as bots:
        intake = Intake(bots, sleep=no_sleep, patience=Patience(tries=4), **options)
        try:
            yield bots, intake
        finally:
            await intake.close(5)


def freeze(bots: sartor.Bots) -> Channel:
    [found] = bots["acme/support"].channels
    found._now = lambda: NOW
    return found


def files(**told: object) -> dict[str, str]:
    made = {"secrets": ["env:HOOK"], **told}
    bot = f"retrieval: {{passages: 0}}\nplugins: {{webhook: {json.dumps(made)}}}\n"
    return {"tenants/acme/support/bot.yaml": bot}


async def test_the_reply_is_sent_until_it_is_taken_and_the_same_id_is_one_turn(make_project, shop):
    shop.failures = 2
    root = make_project(files(url=f"http://127.0.0.1:{shop.port}/replies"), script=["Hello."])
    async with opened(root) as (bots, intake):
        freeze(bots)
        for _ in range(3):
            assert (await intake.receive("webhook", "acme/support", request(HI))).status == 202
        async with asyncio.timeout(5):
            while len(shop.seen) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        ids = {headers["webhook-id"] for headers, _ in shop.seen}
        assert len(shop.seen) == 3 and len(ids) == 1
        headers, told = shop.seen[-1]
        assert headers[""] == "POST /replies HTTP/1.1"
        assert (told["text"], told["reply_to"], told["id"]) == ("Hello.", "msg_1", ids.pop())


async def test_a_conversation_goes_on_by_the_name_that_the_reply_told(make_project):
    async with opened(make_project(files(mode="sync"), script=["One.", "Two."])) as (bots, intake):
        freeze(bots)
        first = json.loads((await intake.receive("webhook", "acme/support", request(HI))).body)
        more = {**HI, "text": "And?", "conversation": first["conversation"]}
        second = json.loads((await intake.receive("webhook", "acme/support", request(more, id_="msg_2"))).body)
        assert second["conversation"] == first["conversation"] and second["text"] == "Two."
        stranger = {**more, "user": "u-18"}
        third = json.loads((await intake.receive("webhook", "acme/support", request(stranger, id_="msg_3"))).body)
        assert third["outcome"] == "failed" and "One" not in third["text"]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"url": URL, "secrets": []}, "secrets"),
        ({"url": URL, "secrets": [SECRET]}, "secrets"),
        ({}, "mode async needs"),
        ({"mode": "sync", "url": URL}, "mode sync has none"),
        ({"url": "file:///etc/passwd"}, "url"),
    ],
)
def test_wrong_settings_are_named_and_secrets_in_files_refused(make_project, told, fault):
    with sartor.open_sync(make_project(files(**told))) as bots, pytest.raises(PluginError, match=fault) as caught:
        bots["acme/support"]
    assert SECRET not in str(caught.value)


def test_the_plugin_gives_one_channel(tmp_path):
    made = WebhookPlugin(WebhookSettings(secrets=["env:HOOK"], mode="sync"), tmp_path)
    assert len(made.sartor_channels(BotInfo("acme", "support", tmp_path, tmp_path))) == 1


HANDED = HandOver("h1", "acme", "support", "ann", "c1", "asked", "User: Hi", datetime(2026, 11, 25, tzinfo=UTC))


async def test_people_are_told_of_hand_overs_with_a_signature():
    posted: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.append(request)
        return httpx.Response(204)

    desk = "https://desk.example/alerts"
    made = channel(answer, alerts=desk)
    await made.alert(Notice("started", HANDED, id="t1"))
    await made.alert(Notice("message", HANDED, "Are you there?", id="t2"))
    await made.alert(Notice("said", HANDED, "Yes.", id="t3", author="Ana"))
    await made.close()
    assert {str(one.url) for one in posted} == {desk}
    first, second, third = (json.loads(one.content) for one in posted)
    assert (first["object"], first["handover"]["summary"]) == ("handover.started", "User: Hi")
    assert (second["object"], second["text"]) == ("handover.message", "Are you there?")
    assert (third["object"], third["text"], third["author"]) == ("handover.said", "Yes.", "Ana")
    for one in posted:
        assert signed([key_of(SECRET)], one.headers, one.content, NOW)
    assert [one.headers["webhook-id"] for one in posted] == ["t1.started", "t2.message", "t3.said"]


async def test_hand_overs_go_where_replies_go_unless_told_otherwise():
    posted: list[str] = []
    made = channel(lambda request: posted.append(str(request.url)) or httpx.Response(204))
    await made.alert(Notice("started", HANDED, id="t1"))
    await made.close()
    assert posted == [URL]
    nowhere = channel(url="", mode="sync")
    assert made.alerts and not nowhere.alerts
    with pytest.raises(DeliveryError, match="the webhook has no `alerts`") as caught:
        await nowhere.alert(Notice("started", HANDED, id="t1"))
    assert not caught.value.again
