"""`/channels/…`: requests of platforms over HTTP, and how the service starts and stops with them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time

import httpx
import pytest
import sartor
from sartor import asgi

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SYNC = """
title: Acme support
grounding: free
retrieval: {passages: 0}
plugins:
  webhook: {secrets: ["env:HOOK_SECRET"], mode: sync}
"""
PLAIN = "title: Acme sales\ngrounding: free\nretrieval: {passages: 0}\n"
FILES = {"tenants/acme/support/bot.yaml": SYNC, "tenants/acme/sales/bot.yaml": PLAIN}
PATH = "/channels/webhook/acme/support"


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def signed(body: bytes, id_: str = "msg_1") -> dict[str, str]:
    """The headers of a message, by a signer that shares nothing with ours."""
    now = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{now}.".encode() + body, hashlib.sha256).digest()
    told = {"webhook-id": id_, "webhook-timestamp": now, "webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
    return {**told, "content-type": "application/json"}


def body(text: str = "Where are you?", user: str = "u-17", **more: object) -> bytes:
    return json.dumps({"user": user, "text": text, **more}).encode()


async def test_a_signed_message_needs_no_api_key(serve):
    async with serve(script=["In Cork."], files=FILES) as served:
        told = await served.client.post(PATH, content=body(), headers=signed(body()))
        assert told.status_code == 200, told.text
        turn = told.json()
        assert (turn["text"], turn["user"], turn["outcome"]) == ("In Cork.", "u-17", "answered")
        stored = await served.bots.store.tenant("acme").reply(turn["id"])
        assert stored is not None and stored.reply.turn.conversation == turn["conversation"]


async def test_a_retry_is_given_the_first_reply(serve):
    async with serve(script=["In Cork."], files=FILES) as served:
        first, again = [
            (await served.client.post(PATH, content=body(), headers=signed(body()))).json() for _ in range(2)
        ]
        assert first == again


@pytest.mark.parametrize(
    "path",
    [
        "/channels/webhook/acme/sales",
        "/channels/webhook/acme/nothing",
        "/channels/webhook/nobody/support",
        "/channels/slack/acme/support",
        "/channels/llama/acme/support",
        "/channels/webhook/rival/support",
        "/channels/webhook/ACME/support",
        "/channels/webhook/acme/%2e%2e",
        "/channels/%00/acme/support",
    ],
)
async def test_whatever_is_not_there_is_the_same_404(serve, path):
    async with serve(files=FILES) as served:
        for method in ("GET", "POST"):
            told = await served.client.request(method, path, content=body(), headers=signed(body()))
            assert (told.status_code, told.content) == (404, b"")


async def test_a_wrong_signature_is_refused_without_a_reason(serve):
    async with serve(files=FILES) as served:
        told = await served.client.post(PATH, content=body("Other"), headers=signed(body()))
        assert (told.status_code, told.content) == (401, b"")
        assert (await served.client.get(PATH)).status_code == 405


async def test_a_secret_that_is_missing_is_logged_and_told_to_nobody(serve, monkeypatch, caplog):
    monkeypatch.delenv("HOOK_SECRET")
    async with serve(files=FILES) as served:
        told = await served.client.post(PATH, content=body(), headers=signed(body()))
    assert (told.status_code, told.content) == (503, b"") and told.headers["retry-after"]
    assert "HOOK_SECRET is not set" in caplog.text


async def test_a_body_that_is_too_large_is_refused_at_the_door(serve):
    async with serve(files=FILES, sartor_yaml="service: {body_bytes: 1024}\n") as served:
        large = body("x" * 2000)
        assert (await served.client.post(PATH, content=large, headers=signed(large))).status_code == 413


async def test_a_signature_is_of_one_bot_only(serve, monkeypatch):
    rival = SYNC.replace("HOOK_SECRET", "RIVAL_SECRET")
    monkeypatch.setenv("RIVAL_SECRET", "whsec_" + base64.b64encode(b"r" * 32).decode())
    async with serve(files={**FILES, "tenants/rival/support/bot.yaml": rival}) as served:
        told = await served.client.post("/channels/webhook/rival/support", content=body(), headers=signed(body()))
        assert told.status_code == 401


async def test_channels_are_no_part_of_the_described_api(serve):
    async with serve(files=FILES) as served:
        assert "/channels" not in (await served.client.get("/openapi.json")).text


async def test_the_service_answers_what_it_took_before_it_stops(make_project, monkeypatch):
    replies: list[dict[str, object]] = []

    async def serve_replies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(next(line for line in head.split("\r\n") if line.startswith("content-length:")).split(":")[1])
        replies.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_replies, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/replies"
    bot = SYNC.replace("mode: sync", f'url: "{url}"')
    root = make_project({**FILES, "tenants/acme/support/bot.yaml": bot}, script=["In Cork, on the quay."])
    path = root / "sartor.yaml"
    path.write_text(path.read_text().replace("choices: false", "choices: false, delay: 0.05"))
    async with server:
        app = asgi.app(root)
        async with asgi.running(app):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
                told = await client.post(PATH, content=body(), headers=signed(body()))
            assert told.status_code == 202 and told.json() == {"id": "msg_1"} and not replies
    [turn] = replies
    assert (turn["text"], turn["reply_to"]) == ("In Cork, on the quay.", "msg_1")
    async with sartor.open(root) as bots:
        assert await bots.store.tenant("acme").reply(str(turn["id"])) is not None
