"""The plugin `slack` against a Slack of our own on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sartor
from hypothesis import given, settings
from hypothesis import strategies as st
from sartor.channels import Answer, Channel, Message, Request
from sartor.delivery import Patience
from sartor.errors import PluginError
from sartor.intake import Intake
from sartor.values import BotInfo, Citation, Outcome, Reply, Turn
from sartor_plugins.slack import SlackPlugin
from sartor_plugins.slack.events import plain
from sartor_plugins.slack.mrkdwn import mrkdwn, split
from sartor_plugins.slack.signature import signature, signed

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-test-token"
NOW = 1_531_420_618.0


@dataclass
class Slack:
    """Answers calls of its Web API with `answers`, or as Slack does; an answer is a status, headers and a body."""

    answers: list[tuple[int, dict[str, str], object]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.calls.append((first.split()[1].removeprefix("/api/"), body))
        self.headers.append(headers)
        told = {"ok": True, "channel": body["channel"], "ts": f"1700000000.00000{len(self.calls)}"}
        status, more, answer = self.answers.pop(0) if self.answers else (200, {}, told)
        out = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer
        more = {**more, "content-length": str(len(out)), "connection": "close"}
        writer.write(f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in more.items()).encode())
        writer.write(b"\r\n" + out)
        await writer.drain()
        writer.close()

    @property
    def said(self) -> list[str]:
        """The text of each message."""
        return [str(body["text"]) for _, body in self.calls]


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    made = Slack()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("SLACK_TOKEN", TOKEN)
    monkeypatch.setenv("SLACK_SECRET", SECRET)


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


@dataclass
class Workspace:
    """A bot in a Slack workspace."""

    bots: sartor.Bots
    intake: Intake
    slack: Slack
    bot: str = "acme/support"

    async def post(self, payload: object, secret: str = SECRET, **headers: str) -> Answer:
        body = json.dumps(payload).encode()
        return await self.intake.receive("slack", self.bot, request(body, secret, time.time(), **headers))

    async def calls(self, number: int) -> list[tuple[str, dict[str, object]]]:
        async with asyncio.timeout(5):
            while len(self.slack.calls) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.03)
        assert len(self.slack.calls) == number
        return self.slack.calls


@pytest.fixture
def workspace(make_project, slack):
    @asynccontextmanager
    async def opened(
        script: list[object], *, delay: float = 0.0, more: str = "", **told: object
    ) -> AsyncIterator[Workspace]:
        made = {
            "bot_token": "env:SLACK_TOKEN",
            "signing_secret": "env:SLACK_SECRET",
            "api": f"http://127.0.0.1:{slack.port}/api",
            "interval": 0,
            "respond_to": ["mentions", "direct-messages", "threads"],
            **told,
        }
        bot = f"retrieval: {{passages: 0}}\nplugins: {{slack: {json.dumps(made)}}}\n{more}"
        root = make_project({f"tenants/{name}/support/bot.yaml": bot for name in ("acme", "rival")}, script=script)
        path = root / "sartor.yaml"
        path.write_text(path.read_text().replace("choices: false", f"choices: false, delay: {delay}"))
        async with sartor.open(root) as bots:
            intake = Intake(bots, sleep=no_sleep, patience=Patience(tries=4))
            try:
                yield Workspace(bots, intake, slack)
            finally:
                await intake.close(5)

    return opened


def request(body: bytes, secret: str = SECRET, now: float = NOW, **headers: str) -> Request:
    stamp = str(int(now))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    told = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}", **headers}
    return Request("POST", {name.replace("_", "-"): value for name, value in told.items()}, body)


def event(text: str = "<@UBOT> Where are you?", kind: str = "app_mention", **more: object) -> dict[str, object]:
    """An event of a public channel; `more` are fields of its inner part."""
    inner = {"type": kind, "user": "U1", "text": text, "ts": "1700000001.000100", "channel": "C1", **more}
    return {
        "type": "event_callback",
        "team_id": "T1",
        "api_app_id": "A1",
        "event_id": "Ev1",
        "event": {name: value for name, value in inner.items() if value is not None},
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
    }


def direct(text: str = "Where are you?", **more: object) -> dict[str, object]:
    return event(text, "message", channel="D1", channel_type="im", **more)


def reply(text: str, *citations: Citation, language: str = "en") -> Reply:
    turn = Turn("t1", "c1", "acme", "support", "slack:T1:U1", "", language=language)
    return Reply(turn, text, Outcome.ANSWERED, citations)


def channel(tmp_path: Path, now: float = NOW, **told: object) -> Channel:
    made = {"bot_token": "env:SLACK_TOKEN", "signing_secret": "env:SLACK_SECRET", **told}
    plugin = SlackPlugin(SlackPlugin.Settings.model_validate(made), tmp_path)
    [found] = plugin.sartor_channels(BotInfo("acme", "support", tmp_path, tmp_path))
    found._now = lambda: now
    return found


# Signatures

DOCUMENTED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
    b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
    b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
    b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
DOCUMENTED_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def test_the_signature_of_slack_s_documentation():
    assert signature(SECRET, "1531420618", DOCUMENTED) == DOCUMENTED_SIGNATURE
    headers = {"x-slack-request-timestamp": "1531420618", "x-slack-signature": DOCUMENTED_SIGNATURE}
    assert signed(SECRET, headers, DOCUMENTED, NOW)
    assert not signed(SECRET, headers, DOCUMENTED + b" ", NOW)
    assert not signed("other", headers, DOCUMENTED, NOW)


FLOW = """
hand_over: {}
flows:
  visit:
    title: your visit
    start: [plan a visit]
    slots: {place: {ask: Which shop?, type: choice, choices: [North, South]}}
    confirm: "Shall I call the shop {place}?"
    done: I have.
    hand_over: true
"""


async def test_a_flow_goes_on_in_a_thread(workspace):
    async with workspace([], more=FLOW) as work:
        await work.post(event("<@UBOT> I want to plan a visit"))
        calls = await work.calls(1)
        assert re.search("Which shop.*North.*South", str(calls[0][1]["text"]), re.DOTALL)
        more = {"thread_ts": "1700000001.000100", "parent_user_id": "UBOT"}
        await work.post(event("<@UBOT> the second", ts="1700000002.000200", **more))
        assert str((await work.calls(2))[1][1]["text"]) == "Shall I call the shop South?"


@pytest.mark.parametrize(
    "changed",
    [
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0="},
        {"x-slack-signature": "v0=é"},
        {"x-slack-signature": "v1=" + "0" * 64},
        {"x-slack-request-timestamp": ""},
        {"x-slack-request-timestamp": "1531420619"},
        {"x-slack-request-timestamp": "-1531420618"},
        {"x-slack-request-timestamp": "１５３１４２０６１８"},
        {"x-slack-request-timestamp": "9" * 5000},
        {"x-slack-request-timestamp": "nan"},
    ],
)
async def test_a_request_that_is_not_signed_by_slack_is_refused(tmp_path, changed):
    body = json.dumps(event()).encode()
    good = request(body)
    assert (await channel(tmp_path).receive(good)).messages
    refused = await channel(tmp_path).receive(Request("POST", {**good.headers, **changed}, body))
    assert refused.answer.status == 401 and not refused.messages and not refused.answer.body
    assert refused.answer.headers["x-slack-no-retry"] == "1"


@pytest.mark.parametrize(("age", "status"), [(0, 200), (299, 200), (-299, 200), (301, 401), (-301, 401)])
async def test_a_request_of_long_ago_is_refused(tmp_path, age, status):
    old = request(json.dumps(event()).encode(), now=NOW - age)
    assert (await channel(tmp_path).receive(old)).answer.status == status


async def test_the_address_is_verified_by_a_signed_challenge_only(tmp_path):
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB"}).encode()
    told = await channel(tmp_path).receive(request(body))
    assert json.loads(told.answer.body) == {"challenge": "3eZbrw1aB"} and not told.messages
    assert (await channel(tmp_path).receive(request(body, "wrong"))).answer.status == 401
    assert (await channel(tmp_path).receive(Request("GET"))).answer.status == 405


@pytest.mark.parametrize("body", [b"", b"[]", b"payload=%7B%7D", b"\xff", b'"x"', b"[" * 100_000])
async def test_what_is_signed_but_no_event_is_refused(tmp_path, body):
    told = await channel(tmp_path).receive(request(body))
    assert told.answer.status == 400 and not told.messages


# Who is answered, and where


async def received(tmp_path: Path, payload: object, **told: object) -> Message | None:
    made = await channel(tmp_path, **told).receive(request(json.dumps(payload).encode()))
    assert made.answer == Answer()
    return made.messages[0] if made.messages else None


async def test_a_mention_is_a_message_of_its_writer_answered_in_a_thread(tmp_path):
    assert await received(tmp_path, event()) == Message(
        text="Where are you?",
        user="slack:T1:U1",
        event="T1:C1:1700000001.000100",
        conversation="slack:support:T1:C1:1700000001.000100:T1:U1",
        attributes={"slack_team": "T1", "slack_user": "U1", "slack_channel": "C1"},
        to={"channel": "C1", "thread": "1700000001.000100"},
    )
    assert (await received(tmp_path, event(), audience="staff")).audience == "staff"


async def test_a_mention_in_a_thread_is_answered_there(tmp_path):
    found = await received(tmp_path, event(thread_ts="1600000000.000001"))
    assert found.to == {"channel": "C1", "thread": "1600000000.000001"}
    assert found.conversation == "slack:support:T1:C1:1600000000.000001:T1:U1"


async def test_two_people_in_a_thread_have_conversations_of_their_own(tmp_path):
    first, second = [await received(tmp_path, event(thread_ts="1600000000.000001", user=user)) for user in ("U1", "U2")]
    assert first.user != second.user and first.conversation != second.conversation


async def test_a_direct_message_goes_on_with_the_conversation_of_its_channel(tmp_path):
    found = await received(tmp_path, direct())
    assert (found.conversation, found.to) == ("slack:support:T1:D1:T1:U1", {"channel": "D1", "thread": ""})
    found = await received(tmp_path, direct(thread_ts="1600000000.000001"))
    assert found.conversation == "slack:support:T1:D1:1600000000.000001:T1:U1"
    assert found.to == {"channel": "D1", "thread": "1600000000.000001"}


async def test_a_message_in_a_thread_is_for_the_bot_where_its_writer_spoke_with_it(tmp_path):
    answer = event("And abroad?", "message", channel_type="channel", thread_ts="1600000000.000001")
    found = await received(tmp_path, answer, respond_to=["threads"])
    assert found.only_known and found.conversation == "slack:support:T1:C1:1600000000.000001:T1:U1"
    assert await received(tmp_path, answer) is None


@pytest.mark.parametrize(
    "payload",
    [
        event("hello", "message", channel_type="channel"),
        event("<@U7> look", "message", channel_type="channel", thread_ts="1600000000.000001"),
        event("<@UBOT> look", "message", channel_type="channel", thread_ts="1600000000.000001"),
        event(user="UBOT"),
        event(user=None),
        event(user="USLACKBOT"),
        event(bot_id="B1"),
        event(bot_profile={"id": "B1"}),
        event(text="<@UBOT>"),
        event(text=None),
        event(text=7),
        event(channel="general"),
        event(channel=None),
        event(ts="now"),
        event(thread_ts="x"),
        event(user="U1:U2"),
        direct(subtype="message_changed", message={"text": "x"}),
        direct(subtype="message_deleted", hidden=True),
        direct(subtype="bot_message"),
        direct(subtype="channel_join"),
        direct(hidden=True),
        event(kind="reaction_added"),
        {"type": "event_callback", "team_id": "T1", "event": "x"},
        {"type": "event_callback"},
        {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1},
        {"type": "something_new"},
    ],
)
async def test_what_no_person_wrote_to_the_bot_is_passed_over(tmp_path, payload):
    assert await received(tmp_path, payload, respond_to=["mentions", "direct-messages", "threads"]) is None


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast"])
async def test_a_message_with_a_file_counts_by_its_text(tmp_path, subtype):
    assert (await received(tmp_path, direct(subtype=subtype))).text == "Where are you?"


async def test_places_can_be_left_out(tmp_path):
    assert await received(tmp_path, event(), respond_to=["direct-messages"]) is None
    assert await received(tmp_path, direct(), respond_to=["mentions"]) is None


async def test_only_people_of_the_teams_are_answered(tmp_path):
    assert await received(tmp_path, event(), teams=["T1"]) is not None
    assert await received(tmp_path, event(), teams=["T2"]) is None
    guest = event(user_team="T9")
    assert await received(tmp_path, guest, teams=["T1"]) is None
    assert (await received(tmp_path, guest)).user == "slack:T9:U1"
    assert await received(tmp_path, guest, teams=["T1", "T9"]) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hi <@UBOT> there", "Hi there"),
        ("<@UBOT|bot>, <@U7> and <@U8|ann> in <#C1|general> <#C2>", ", @U7 and @ann in #general #C2"),
        ("see <https://a.example/x?a=1&amp;b=2>", "see https://a.example/x?a=1&b=2"),
        ("<https://a.example|our page> <mailto:a@b.example|a@b.example>", "our page (https://a.example) a@b.example"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2, &amp;lt;", "1 < 2 && 3 > 2, &lt;"),
        ("<!here> <!date^1392734382^{date}|today> <!subteam^S1|@team>", "@here today @team"),
    ],
)
def test_slack_s_marks_are_no_part_of_what_was_said(text, said):
    assert plain(text, {"UBOT"}) == said


@given(st.text(alphabet="<>@#!|&;ltgamp UBOT\0x", max_size=60))
def test_no_text_breaks_the_reading(text):
    assert "\0" not in plain(text, {"UBOT"})


# Replies


async def test_a_mention_is_answered_in_its_thread(workspace):
    async with workspace(["In **Cork**, see [the map](https://map.example)."]) as space:
        assert await space.post(event()) == Answer()
        [(method, body)] = await space.calls(1)
        assert method == "chat.postMessage"
        assert (body["channel"], body["thread_ts"]) == ("C1", "1700000001.000100")
        [section] = body["blocks"]
        assert section["text"] == {
            "type": "mrkdwn",
            "text": "In *Cork*, see <https://map.example|the map>.",
            "verbatim": True,
        }
        assert space.slack.headers[0]["authorization"] == f"Bearer {TOKEN}"
        [turn] = await space.bots.store.tenant("acme").turns("slack:support:T1:C1:1700000001.000100:T1:U1", 5)
        assert (turn.reply.turn.user, turn.reply.turn.text) == ("slack:T1:U1", "Where are you?")


async def test_a_direct_message_is_answered_beside_it(workspace):
    async with workspace(["In Cork."]) as space:
        await space.post(direct())
        [(_, body)] = await space.calls(1)
        assert body["channel"] == "D1" and "thread_ts" not in body


async def test_retries_are_one_turn(workspace, caplog):
    caplog.set_level("INFO")
    async with workspace(["In Cork."]) as space:
        for number in range(4):
            retry = {"x_slack_retry_num": str(number), "x_slack_retry_reason": "http_timeout"} if number else {}
            assert await space.post(event(), **retry) == Answer()
        await space.calls(1)
    assert "retry 3 of an event for acme/support: 'http_timeout'" in caplog.text


async def test_a_mention_that_slack_tells_twice_is_one_turn(workspace):
    async with workspace(["In Cork.", "By bus."]) as space:
        await space.post(event(thread_ts="1600000000.000001"))
        twice = event(kind="message", channel_type="channel", thread_ts="1600000000.000001")
        await space.post({**twice, "event_id": "Ev2"})
        await space.calls(1)
        more = event("And how?", "message", channel_type="channel", thread_ts="1600000000.000001", ts="1700000002.0001")
        await space.post(more)
        await space.post({**more, "event": {**more["event"], "user": "U2", "ts": "1700000003.0001"}})
        await space.calls(2)
        assert space.slack.said == ["In Cork.", "By bus."]


async def test_tenants_stay_apart_even_in_one_workspace(workspace):
    async with workspace(["One.", "Two."]) as space:
        await space.post(event())
        await space.calls(1)
        space.bot = "rival/support"
        await space.post(event())
        await space.calls(2)
        for tenant in ("acme", "rival"):
            rows = await space.bots.store.tenant(tenant).conversations("support", "slack:T1:U1", 5)
            assert [row.turns for row in rows] == [1]


async def test_a_wrong_signature_is_no_turn(workspace):
    async with workspace([]) as space:
        assert (await space.post(event(), secret="wrong")).status == 401
        await space.calls(0)


async def test_a_reply_that_takes_long_is_announced_and_then_put_in_place(workspace):
    async with workspace(["In Cork, on the quay."], delay=0.1, patience=0.05) as space:
        await space.post(event())
        [(_, first), (method, second)] = await space.calls(2)
        assert (first["text"], first["thread_ts"]) == ("One moment…", "1700000001.000100")
        assert (method, second["ts"], second["text"]) == ("chat.update", "1700000000.000001", "In Cork, on the quay.")


async def test_an_announcement_that_is_gone_is_not_missed(workspace):
    async with workspace(["In Cork, on the quay."], delay=0.1, patience=0.05) as space:
        told = {"ok": True, "ts": "1700000000.000001"}
        space.slack.answers = [(200, {}, told), (200, {}, {"ok": False, "error": "message_not_found"})]
        await space.post(event())
        [_, _, (method, body)] = await space.calls(3)
        assert method == "chat.postMessage" and "ts" not in body
        assert (body["thread_ts"], body["text"]) == ("1700000001.000100", "In Cork, on the quay.")


@pytest.mark.parametrize(
    "refused",
    [
        (429, {"retry-after": "1"}, {"ok": False, "error": "ratelimited"}),
        (200, {}, {"ok": False, "error": "internal_error"}),
        (503, {}, b"<html>"),
        (200, {}, b"<html>"),
        (200, {}, []),
    ],
)
async def test_a_call_that_fails_for_a_moment_is_made_again(workspace, refused):
    async with workspace(["In Cork."]) as space:
        space.slack.answers = [refused, refused]
        await space.post(event())
        await space.calls(3)
        assert space.slack.said == ["In Cork."] * 3


@pytest.mark.parametrize("name", ["not_in_channel", "invalid_auth", "missing_scope", "is_archived"])
async def test_a_call_that_cannot_succeed_is_reported_once(workspace, caplog, name):
    async with workspace(["In Cork."]) as space:
        space.slack.answers = [(200, {}, {"ok": False, "error": name})]
        await space.post(event())
        await space.calls(1)
    assert f"chat.postMessage: {name}" in caplog.text and "was not sent" in caplog.text
    assert "Cork" not in caplog.text and TOKEN not in caplog.text


async def test_a_slack_that_cannot_be_reached_is_reported(workspace, caplog):
    async with workspace(["In Cork."], api="http://127.0.0.1:9") as space:
        await space.post(event())
        await asyncio.sleep(0.3)
    assert "Slack cannot be reached: ConnectError (tried 4 times)" in caplog.text


async def test_messages_to_a_channel_keep_their_distance(workspace):
    async with workspace(["word " * 4000], interval=0.1) as space:
        began = time.monotonic()
        await space.post({**event(), "event": {**event()["event"], "text": "<@UBOT> Tell me all"}})
        await space.calls(3)
        assert time.monotonic() - began >= 0.2


# What is sent


def test_a_long_reply_is_several_blocks_and_messages(tmp_path):
    text = "\n\n".join(f"Paragraph {number} " + "word " * 200 for number in range(30))
    message = Message("?", "u", "e", to={"channel": "C1", "thread": "1.1", "posted": "2.2"})
    first, *others = channel(tmp_path).write(message, reply(text, Citation(1, "p", "a.md", "A")))
    assert first["ts"] == "2.2" and all("ts" not in other and other["thread_ts"] == "1.1" for other in others)
    for part in (first, *others):
        texts = [block["text"]["text"] for block in part["blocks"] if block["type"] == "section"]
        assert all(len(text) <= 3000 for text in texts) and sum(map(len, texts)) <= 9000
        assert len(part["text"]) <= 3000
    shown = " ".join(b["text"]["text"] for p in (first, *others) for b in p["blocks"] if b["type"] == "section")
    assert shown.split() == text.split()
    assert ["context" in [block["type"] for block in part["blocks"]] for part in (first, *others)][-1]
    assert not any("context" in [block["type"] for block in part["blocks"]] for part in (first, *others)[:-1])


def test_cited_documents_stand_below(tmp_path):
    cited = [Citation(1, "p1", "delivery.md", "Delivery › <Abroad>"), Citation(2, "p2", "prices.pdf", "")]
    message = Message("?", "u", "e", to={"channel": "C1", "thread": ""})
    [call] = channel(tmp_path).write(message, reply("6.50 EUR [1] [2]", *cited))
    told = "Sources: [1] Delivery › &lt;Abroad&gt; · [2] prices.pdf"
    assert call["blocks"][1] == {"type": "context", "elements": [{"type": "mrkdwn", "text": told, "verbatim": True}]}
    [call] = channel(tmp_path, sources=False).write(message, reply("6.50 EUR [1]", *cited))
    assert len(call["blocks"]) == 1


def test_an_empty_reply_is_still_a_message(tmp_path):
    [call] = channel(tmp_path).write(Message("?", "u", "e", to={"channel": "C1"}), reply(""))
    assert call["text"] == "…"


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain text, 5 * 3 * 2, snake_case_name, 2**3", "plain text, 5 * 3 * 2, snake_case_name, 2**3"),
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*italic* and _italic_", "_italic_ and _italic_"),
        ("~~gone~~", "~gone~"),
        ("**bold _both_**", "*bold _both_*"),
        ("# Heading **x** #", "*Heading x*"),
        ("- one\n* two\n+ three\n  - four", "• one\n• two\n• three\n  • four"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> quoted\n>> twice", "> quoted\n> twice"),
        ("`a < b && **c**`", "`a &lt; b &amp;&amp; **c**`"),
        ("```python\nx = '<a>'\n**x**\n```", "```\nx = '&lt;a&gt;'\n**x**\n```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("[page](https://a.example/x?a=1&b=2)", "<https://a.example/x?a=1&amp;b=2|page>"),
        ("![logo](https://a.example/l.png)", "<https://a.example/l.png|logo>"),
        ("[https://a.example](https://a.example)", "<https://a.example>"),
        ("<https://a.example> https://b.example/x_y_z.", "<https://a.example> <https://b.example/x_y_z>."),
        ("[mail](mailto:a@b.example)", "<mailto:a@b.example|mail>"),
        ("[evil](javascript:x)", "evil (javascript:x)"),
        ("[evil](/relative)", "evil (/relative)"),
        ("[<!channel>|x](https://a.example)", "<https://a.example|&lt;!channel&gt;x>"),
        (
            "<!channel> <@U1> <#C1> <https://a.example|bank>",
            "&lt;!channel&gt; &lt;@U1&gt; &lt;#C1&gt; &lt;<https://a.example>|bank&gt;",
        ),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("\\*not italic\\*", "*not italic*"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\nafter", "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```\nafter"),
        ("---", "———"),
        ("It costs 6.50 [1] [2].", "It costs 6.50 [1] [2]."),
    ],
)
def test_markdown_as_slack_shows_it(markdown, shown):
    assert mrkdwn(markdown) == shown


SPECIAL = "** * _ __ ` ``` ~~ > # - | [a]( ) ]( < > & [ ] <!channel> <@U1> https://a.example/ \\ word é mailto:a"
MARKS = st.sampled_from([*SPECIAL.split(), "\n", " ", "\n> ", "\n# ", "\n- "])
LINK = re.compile(r"<(?:https?://|mailto:)[^<>|\s]+(?:\|[^<>|\n]*)?>")


@settings(max_examples=300)
@given(st.lists(MARKS, max_size=40).map("".join) | st.text(max_size=80))
def test_nothing_in_a_reply_is_special_to_slack_but_links(text):
    bare = LINK.sub("", mrkdwn(text))
    assert "<" not in bare and ">" not in re.sub(r"^> ", "", bare, flags=re.MULTILINE)
    assert not re.search(r"&(?!amp;|lt;|gt;)", bare)


@pytest.mark.parametrize("text", ["``" + "`a`", "`a`" + "`" + "`b`", r"\`\`\`", r"``\`a", "```\\`" * 20])
def test_marks_of_code_beside_one_another_open_no_fence(text):
    assert all(piece.count("```") % 2 == 0 for piece in split(mrkdwn("x " + text), 1200))
    assert "```" not in mrkdwn("x " + text)


@settings(max_examples=300)
@given(st.lists(MARKS | st.just("x" * 30), max_size=60).map("".join), st.integers(20, 60).map(lambda n: n * 60))
def test_pieces_are_short_and_lose_nothing(text, most):
    shown = mrkdwn(text * 20)
    pieces = split(shown, most)
    assert all(0 < len(piece) <= most for piece in pieces)

    def bare(piece: str) -> str:
        return re.sub(r"\s|```", "", piece)

    assert bare("".join(pieces)) == bare(shown)
    for piece in pieces:
        assert piece.count("```") % 2 == 0
        rest = LINK.sub("", piece)
        assert "<" not in rest and not re.search(r"&(?!amp;|lt;|gt;)", rest)


@given(st.text(alphabet="abc -,.", max_size=200))
def test_plain_text_stays_as_it_is(text):
    line = f"a{text.replace('-', '')}"
    assert mrkdwn(line) == line


@pytest.mark.parametrize(
    "piece", ["**a ", "`", "[", "[a](", "_a ", "~~a ", "<http://", "* ", "> ", ">", "|", "https://", " "]
)
def test_no_reply_takes_long_to_convert(piece):
    began = time.process_time()
    split(mrkdwn(piece * 5000), 3000)
    assert time.process_time() - began < 2


# Settings


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"bot_token": TOKEN}, "bot_token"),
        ({"signing_secret": SECRET}, "signing_secret"),
        ({"respond_to": ["everything"]}, "respond_to"),
        ({"api": "ftp://x"}, "api"),
    ],
)
def test_wrong_settings_are_named_and_secrets_in_files_refused(make_project, told, fault):
    made = {"bot_token": "env:SLACK_TOKEN", "signing_secret": "env:SLACK_SECRET", **told}
    root = make_project({"tenants/acme/support/bot.yaml": f"plugins: {{slack: {json.dumps(made)}}}\n"})
    with sartor.open_sync(root) as bots, pytest.raises(PluginError, match=fault) as caught:
        bots["acme/support"]
    assert TOKEN not in str(caught.value)


# Documentation


def test_the_manifest_of_the_documentation_fits_the_defaults():
    page = (Path(__file__).parents[2] / "docs/how-to/connect-slack.md").read_text(encoding="utf-8")
    manifest = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    assert manifest["settings"]["event_subscriptions"] == {
        "request_url": "https://bots.example/channels/slack/acme/support",
        "bot_events": ["app_mention", "message.im"],
    }
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == {"app_mentions:read", "chat:write", "im:history"}
