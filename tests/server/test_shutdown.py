"""The end of `sartor serve`: turns in flight are finished, or stored as far as they came, and streams are ended."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sartor
from sartor.server.service import Service
from sartor.values import Outcome

SUPPORT = "title: Acme\ngrounding: free\nretrieval: {passages: 0}\n"
PROJECT = """
model: scripted
models:
  scripted: {plugin: scripted, script: [LINE], delay: DELAY}
embeddings: null
index: {plugin: memory-index}
service: {drain_seconds: DRAIN}
"""
LINE = " ".join(f"word{number}" for number in range(120))
STREAM = {"bot": "support", "text": "Tell me all.", "stream": True}


@dataclass
class Process:
    """A running `sartor serve` and a client of it."""

    root: Path
    popen: subprocess.Popen[str]
    client: httpx.AsyncClient

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.popen.wait, 30)


Start = Callable[..., object]


@pytest.fixture
def start(make_project) -> Start:
    """``async with start(delay=0.02, drain=30) as process``."""

    @asynccontextmanager
    async def starting(*, delay: float = 0.02, drain: float = 30) -> AsyncIterator[Process]:
        text = PROJECT.replace("LINE", json.dumps(LINE)).replace("DELAY", str(delay)).replace("DRAIN", str(drain))
        root = make_project({"sartor.yaml": text, "tenants/acme/support/bot.yaml": SUPPORT})
        async with sartor.open(root) as bots:
            key, _ = await Service(bots).keys.create("acme", scopes=frozenset({"chat"}))
        code = "import sys; sys.argv[0] = 'sartor'\nfrom sartor.cli import main\nmain()"
        arguments = ["serve", "--port", "0", "--log", "json", "--project", str(root)]
        popen = subprocess.Popen(  # noqa: ASYNC220 - it blocks for no time
            [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            url = await asyncio.to_thread(_address, popen)
            async with httpx.AsyncClient(
                base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30
            ) as client:
                yield Process(root, popen, client)
        finally:
            popen.kill()
            await asyncio.to_thread(popen.communicate)

    return starting


def _address(popen: subprocess.Popen[str]) -> str:
    assert popen.stderr is not None
    for line in popen.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group()
    raise AssertionError(f"it ended with {popen.wait()}")


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, object]]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def stored(root: Path, turn: str) -> sartor.Reply:
    async with sartor.open(root) as bots:
        found = await bots.store.tenant("acme").reply(turn)
    assert found is not None
    return found.reply


async def test_a_stream_in_flight_is_finished_before_the_process_ends(start):
    async with start(delay=0.01) as process:
        text, last = "", {}
        async with process.client.stream("POST", "/v1/turns", json=STREAM) as response:
            async for name, told in events(response):
                if name == "delta":
                    if not text:
                        process.stop()
                    text += told["text"]
                last = told if name == "finished" else last
        assert text == LINE and last["outcome"] == "answered"
        assert await process.ended() == 0
        assert (await stored(process.root, last["id"])).text == LINE


async def test_nobody_is_let_in_any_more_meanwhile(start):
    async with start(delay=0.02) as process:
        async with process.client.stream("POST", "/v1/turns", json=STREAM) as response:
            async for name, _ in events(response):
                if name == "delta" and process.popen.poll() is None:
                    process.stop()
                    await asyncio.sleep(0.5)
                    async with httpx.AsyncClient(base_url=process.client.base_url) as other:
                        with pytest.raises(httpx.ConnectError):
                            await other.get("/healthz")
                    break
        assert await process.ended() == 0


async def test_a_turn_that_takes_longer_than_it_may_is_stored_as_far_as_it_came_and_its_stream_ended(start):
    async with start(delay=0.1, drain=0.5) as process:
        text, last = "", {}
        async with process.client.stream("POST", "/v1/turns", json=STREAM) as response:
            async for name, told in events(response):
                if name == "delta":
                    if not text:
                        process.stop()
                    text += told["text"]
                last = told if name == "finished" else last
        assert last["outcome"] == "cancelled" and text and LINE.startswith(text)
        assert await process.ended() == 0
        reply = await stored(process.root, last["id"])
        assert reply.outcome is Outcome.CANCELLED and reply.text == text


async def test_a_turn_to_which_nobody_listens_is_finished_too(start):
    async with start(delay=0.01) as process:
        async with process.client.stream("POST", "/v1/turns", json={**STREAM, "keep": 30}) as response:
            async for name, told in events(response):
                if name == "turn":
                    turn = told["turn"]
                if name == "delta":
                    break
        process.stop()
        assert await process.ended() == 0
        assert (await stored(process.root, turn)).text == LINE


async def test_an_idle_service_ends_at_once(start):
    async with start() as process:
        assert (await process.client.get("/healthz")).status_code == 200
        process.stop()
        assert await asyncio.wait_for(process.ended(), 10) == 0


async def test_a_second_interrupt_ends_it_at_once(start):
    async with start(delay=0.5) as process:
        async with process.client.stream("POST", "/v1/turns", json={**STREAM, "keep": 30}) as response:
            async for name, _ in events(response):
                if name == "delta":
                    break
        process.popen.send_signal(signal.SIGINT)
        await asyncio.sleep(0.5)
        assert process.popen.poll() is None
        process.popen.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.ended(), 10) != 0


def serve(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'sartor'\nfrom sartor.cli import main\nmain()"
    command = [sys.executable, "-c", code, "serve", "--project", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_keeps_it_from_starting_is_told_like_any_error(make_project):
    root = make_project({"tenants/acme/support/bot.yaml": SUPPORT})
    file = root / "sartor.yaml"
    file.write_text(file.read_text() + "state: sqlite:////proc/nowhere/sartor.db\n")
    done = serve(root)
    assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_told(make_project):
    root = make_project({"tenants/acme/support/bot.yaml": SUPPORT})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = serve(root, "--port", str(taken.getsockname()[1]))
    assert done.returncode != 0 and "address already in use" in done.stderr
