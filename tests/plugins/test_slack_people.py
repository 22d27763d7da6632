"""Hand-overs in Slack: people are told in a thread, and what they write there is said to the user."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import pytest
import sartor
from sartor.channels import Request
from sartor.errors import SpecError
from sartor.handover.desk import Desk
from sartor.intake import Intake

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CALLED = "I am passing you on to a colleague, who will answer here."


@dataclass
class Slack:
    """A workspace that remembers what was posted, and lets it be looked up."""

    posted: list[dict] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    names: bool = True
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = (await reader.readexactly(size)).decode()
        method = head.split()[1].removeprefix("/api/")
        self.asked.append(method)
        told = self.answer(method, dict(parse_qsl(body)) if "urlencoded" in head else json.loads(body))
        out = json.dumps(told).encode()
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(out)}\r\nconnection: close\r\n\r\n".encode() + out)
        await writer.drain()
        writer.close()

    def answer(self, method: str, given: dict) -> dict:
        match method:
            case "chat.postmessage":
                ts = f"{time.time():.0f}.{len(self.posted):06d}"
                self.posted.append({**given, "ts": ts, "bot_id": "B1"})
                return {"ok": True, "ts": ts}
            case "conversations.replies":
                return {"ok": True, "messages": [one for one in self.posted if one["ts"] == given["ts"]]}
            case "conversations.history":
                inside = [
                    one for one in self.posted if float(given["oldest"]) <= float(one["ts"]) and "thread_ts" not in one
                ]
                return {"ok": True, "messages": [one for one in inside if one["channel"] == given["channel"]]}
            case "users.info" if self.names:
                return {"ok": True, "user": {"profile": {"display_name": "", "real_name": "Ana Silva"}}}
        return {"ok": False, "error": "missing_scope"}

    def among_people(self) -> list[dict]:
        return [one for one in self.posted if one["channel"] == "CPEOPLE"]

    def said(self, channel: str) -> list[str]:
        return [one["text"] for one in self.posted if one["channel"] == channel]


@dataclass
class Space:
    bots: sartor.Bots
    intake: Intake
    slack: Slack

    async def post(self, **inner: object) -> int:
        told = {"type": "message", "team": "T1", **inner}
        payload = {"type": "event_callback", "team_id": "T1", "authorizations": [{"user_id": "UBOT"}], "event": told}
        body, stamp = json.dumps(payload).encode(), str(int(time.time()))
        digest = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={digest}"}
        return (await self.intake.receive("slack", "acme/support", Request("POST", headers, body))).status

    async def user(self, text: str, ts: str) -> int:
        return await self.post(channel="D1", channel_type="im", user="U1", text=text, ts=ts)

    async def colleague(self, said: str, ts: str = "1900000000.000001", **more: object) -> int:
        thread = next(one["ts"] for one in self.slack.posted if one["channel"] == "CPEOPLE")
        return await self.post(
            **{"channel": "CPEOPLE", "user": "U7", "text": said, "ts": ts, "thread_ts": thread, **more}
        )

    async def until(self, channel: str, number: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.slack.said(channel)) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.slack.said(channel)


@pytest.fixture
def opened(make_project, monkeypatch):
    monkeypatch.setenv("TOKEN", "xoxb-test")
    monkeypatch.setenv("SECRET", SECRET)

    @asynccontextmanager
    async def begin(script: object = (), **told: object) -> AsyncIterator[Space]:
        slack = Slack()
        server = await asyncio.start_server(slack.serve, "127.0.0.1", 0)
        api = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        made = {"bot_token": "env:TOKEN", "signing_secret": "env:SECRET", "api": api, "interval": 0, "patience": 300}
        settings = json.dumps({**made, "people": "CPEOPLE", **told})
        bot = f"grounding: free\nplugins: {{slack: {settings}}}\nhand_over: {{channel: slack}}\n"
        async with server, sartor.open(make_project({"tenants/acme/support/bot.yaml": bot}, script=script)) as bots:
            intake = Intake(bots)
            try:
                yield Space(bots, intake, slack)
            finally:
                await intake.close(5)

    return begin


async def test_a_thread_with_people_is_a_talk_with_the_user(opened):
    async with opened(["Blue."]) as space:
        await space.user("I want to talk to a human <!channel>", "1700000001.000100")
        assert await space.until("D1", 1) == [CALLED]
        await space.until("CPEOPLE", 1)
        [first] = space.slack.among_people()
        assert first["text"] == "*acme/support: the user asked for a person*"
        assert first["blocks"][1]["text"]["text"].endswith("User: I want to talk to a human @channel")
        assert first["blocks"][1]["text"]["verbatim"] and first["parse"] == "none"

        await space.user("My boots <https://evil.example|here>", "1700000002.000100")
        assert (await space.until("CPEOPLE", 2))[1] == "My boots here (https://evil.example)"
        assert space.slack.among_people()[1]["thread_ts"] == first["ts"]
        assert len(await space.until("D1", 2)) == 2  # the one word to a user who waits

        assert await space.colleague("What about <@UBOT> them?") == 200
        assert await space.colleague("What about <@UBOT> them?") == 200  # told again by Slack
        assert (await space.until("D1", 3))[2] == "*Ana Silva:* What about them?"
        await space.user("They leak", "1700000003.000100")
        await space.until("CPEOPLE", 3)
        await asyncio.sleep(0.1)
        assert len(space.slack.said("D1")) == 3  # the bot is silent

        await space.colleague("Done!", "1900000000.000002")
        assert (await space.until("D1", 4))[3] == "I am the assistant again. How else can I help?"
        assert (await space.until("CPEOPLE", 4))[3] == "The bot has the conversation again."
        await space.user("Which colour?", "1700000004.000100")
        assert (await space.until("D1", 5))[4] == "Blue."
        told = await space.bots.store.tenant("acme").turns("slack:support:T1:D1:T1:U1", 20)
        assert [one.reply.author for one in told if one.reply.author] == ["Ana Silva"]

        await space.colleague("One more thing", "1900000000.000003")
        assert (await space.until("CPEOPLE", 5))[4] == "The bot has the conversation again."
        assert len(space.slack.said("D1")) == 5


async def test_a_reaction_gives_the_conversation_back(opened):
    async with opened() as space:
        await space.user("I want to talk to a human", "1700000001.000100")
        await space.until("CPEOPLE", 1)
        first = next(one for one in space.slack.posted if one["channel"] == "CPEOPLE")
        item = {"type": "message", "channel": "CPEOPLE", "ts": first["ts"]}
        await space.post(type="reaction_added", user="U7", reaction="eyes", item=item)
        assert len(await Desk(space.bots, "acme").open()) == 1
        await space.post(type="reaction_added", user="U7", reaction="white_check_mark", item=item)
        assert (await space.until("D1", 2))[1] == "I am the assistant again. How else can I help?"
        assert await Desk(space.bots, "acme").open() == []


async def test_another_process_finds_the_thread(opened):
    async with opened() as space:
        await space.user("I want to talk to a human", "1700000001.000100")
        await space.until("CPEOPLE", 1)
        [slack] = space.bots["acme/support"].channels
        slack._people._threads.clear()
        desk = Desk(space.bots, "acme")
        [there] = await desk.open()
        await desk.say(there.id, "Hello from the API", by="Bo <!here>")
        assert (await space.until("CPEOPLE", 2))[1] == "*Bo &lt;!here&gt;:* Hello from the API"
        assert "conversations.history" in space.slack.asked
        assert (await space.until("D1", 2))[1] == "*Bo &lt;!here&gt;:* Hello from the API"
        slack._people._threads.clear()
        await space.colleague("Hello from the thread")
        assert (await space.until("D1", 3))[2] == "*Ana Silva:* Hello from the thread"


async def test_without_the_scope_the_person_has_no_name(opened):
    async with opened() as space:
        space.slack.names = False
        await space.user("I want to talk to a human", "1700000001.000100")
        await space.until("CPEOPLE", 1)
        await space.colleague("Hello")
        assert (await space.until("D1", 2))[1] == "*A colleague:* Hello"


@pytest.mark.parametrize(
    "more",
    [{"bot_id": "B2"}, {"user": "UBOT"}, {"subtype": "message_changed"}, {"text": ""}, {"type": "app_mention"},
     {"team": "T9"}],
)  # fmt: skip
async def test_what_no_person_of_the_team_wrote_in_the_thread_is_not_said(opened, more):
    async with opened(teams=["T1"]) as space:
        await space.user("I want to talk to a human", "1700000001.000100")
        await space.until("CPEOPLE", 1)
        assert await space.colleague("Hello", **more) == 200
        await asyncio.sleep(0.1)
        assert space.slack.said("D1") == [CALLED]


async def test_a_forged_thread_is_of_no_hand_over(opened):
    async with opened() as space:
        await space.user("I want to talk to a human", "1700000001.000100")
        await space.until("CPEOPLE", 1)
        [there] = await Desk(space.bots, "acme").open()
        for bot, by in (("rival/support", {"bot_id": "B2"}), ("acme/support", {})):
            metadata = {"event_type": "sartor_handover", "event_payload": {"id": there.id, "bot": bot}}
            forged = {"channel": "CPEOPLE", "text": "", "ts": f"18000000.00000{len(by)}", "metadata": metadata, **by}
            space.slack.posted.append(forged)
            await space.colleague("Hello", thread_ts=forged["ts"])
        await asyncio.sleep(0.1)
        assert space.slack.said("D1") == [CALLED]


async def test_a_slack_without_a_channel_for_people_tells_nobody(opened):
    with pytest.raises(SpecError, match="'slack' tells nobody of hand-overs"):
        async with opened(people="") as space:
            space.bots["acme/support"]
