"""The official client against a server that runs, speaking with the built-in model.

One server, started once, in a thread of its own; the model is loaded once.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pydantic
import pytest
import uvicorn
from fastapi import FastAPI
from sartor import asgi
from sartor.values import Outcome

FILES = {
    "sartor.yaml": """
        model: builtin
        models:
          builtin: {plugin: llama, path: builtin, threads: 1}
          endless: {plugin: endless}
          caller: {plugin: caller}
        embeddings: {plugin: ngrams, width: 64}
        index: {plugin: everything}
        """,
    "plugins/endless.py": """
        import asyncio
        from langchain_core.messages import AIMessageChunk
        from langchain_core.outputs import ChatGenerationChunk
        from sartor import Plugin, hookimpl
        from sartor.testing import ScriptedModel

        class Endless(ScriptedModel):
            "Speaks until it is stopped; `spoken` and `stopped` tell of it."
            script: list = []
            spoken: int = 0
            stopped: float = 0

            async def _astream(self, messages, stop=None, run_manager=None, **options):
                import time
                self.spoken = self.stopped = 0
                try:
                    await asyncio.sleep(30 if "silent" in messages[-1].content else 0)
                    while True:
                        self.spoken += 1
                        yield ChatGenerationChunk(message=AIMessageChunk(content="on "))
                        await asyncio.sleep(0.005)
                finally:
                    self.stopped = time.monotonic()

        class EndlessPlugin(Plugin):
            @hookimpl
            def sartor_model(self): return Endless()
        """,
    "plugins/everything.py": """
        from sartor import Plugin, hookimpl
        from sartor.values import Hit

        class Everything(Plugin):
            @hookimpl
            def sartor_index(self, bot): return Index()

        class Index:
            def __init__(self): self.chunks = {}
            async def add(self, chunks): self.chunks.update({chunk.id: chunk for chunk in chunks})
            async def remove(self, ids): pass
            async def search(self, query, limit, audience="", *, before=""): return [Hit(id, 1.0) for id in self.chunks]
            async def ids(self): return frozenset(self.chunks)
            async def clear(self): self.chunks.clear()
            async def close(self): pass
        """,
    "plugins/caller.py": """
        from sartor import Plugin, hookimpl
        from sartor.testing import Call, ScriptedModel

        class Caller(Plugin):
            @hookimpl
            def sartor_model(self):
                return ScriptedModel(script=[Call("lamp_price", {"lamp": "Luna"}), "The Luna costs 49 EUR."] * 9)
        """,
    "tenants/acme/free/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nlimits: {reply_tokens: 48}\n",
    "tenants/acme/support/bot.yaml": "grounding: quote\n",
    "tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nExpress parcels cost nine euros.\n",
    "tenants/acme/endless/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nmodel: endless\n",
    "tenants/acme/tools/bot.yaml": "grounding: free\nretrieval: {passages: 0}\nmodel: caller\n",
}
LAMP = {
    "type": "function",
    "function": {
        "name": "lamp_price",
        "description": "The price of a lamp.",
        "parameters": {"type": "object", "properties": {"lamp": {"type": "string"}}, "required": ["lamp"]},
    },
}


@dataclass
class Running:
    """The server, seen from a test."""

    app: FastAPI
    url: str
    key: str
    loop: asyncio.AbstractEventLoop

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=self.key, base_url=f"{self.url}/v1", max_retries=0)

    @property
    def bots(self):
        return self.app.state.sartor.bots

    def ask(self, work):
        """What a coroutine gives in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("live")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    app = asgi.app(root)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(sockets=[listening]),), daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        service = app.state.sartor
        made = Running(app, f"http://127.0.0.1:{listening.getsockname()[1]}", "", loop)
        made.key, _ = made.ask(service.keys.create("acme", scopes=frozenset({"chat"})))
        made.ask(service.bots.knowledge("acme/support").ingest())
        yield made
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        loop.close()


def until(there, seconds: float = 30) -> float:
    """Wait for something to become true; how long it took."""
    began = time.monotonic()
    while not there():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)
    return time.monotonic() - began


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def said(stream) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_the_built_in_model_quotes(running):
    with running.client as client:
        answer = client.chat.completions.create(model="support", messages=user("What do express parcels cost?"))
        assert answer.choices[0].message.content == "Express parcels cost nine euros. [1]"
        assert answer.usage.prompt_tokens > 10 and answer.usage.completion_tokens > 0
        (citation,) = answer.sartor["citations"]
        assert (citation["source"], citation["quote"]) == ("delivery.md", "Express parcels cost nine euros.")


def test_the_built_in_model_streams(running):
    with running.client as client:
        asked = {"model": "free", "messages": user("Tell me about lamps."), "temperature": 0, "max_tokens": 5}
        with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked) as stream:
            chunks = list(stream)
        assert len(chunks) > 3 and chunks[-1].usage.completion_tokens == 5
        assert chunks[-2].choices[0].finish_reason == "length"
        whole = client.chat.completions.create(**asked)
        assert said(chunks) == whole.choices[0].message.content
        assert whole.usage.prompt_tokens_details.cached_tokens > 0, "the same prompt was computed before"


class Parcel(pydantic.BaseModel):
    express: bool
    days: int


def test_the_built_in_model_is_held_to_a_format(running):
    with running.client as client:
        answer = client.chat.completions.parse(
            model="free", messages=user("Express, in 2 days."), response_format=Parcel, temperature=0
        )
        assert isinstance(answer.choices[0].message.parsed, Parcel)
        schema = {"type": "object", "properties": {"city": {"enum": ["Lyon"]}}, "required": ["city"]}
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
        answer = client.chat.completions.create(model="free", messages=user("Where?"), response_format=form)
        assert json.loads(answer.choices[0].message.content) == {"city": "Lyon"}
        schema["properties"] = {"city": {"$ref": "#/nowhere"}}
        with pytest.raises(openai.BadRequestError, match="refers to '#/nowhere'"):
            client.chat.completions.create(model="free", messages=user("Where?"), response_format=form)
        with pytest.raises(openai.BadRequestError, match="quotes its documents"):
            client.chat.completions.create(model="support", messages=user("Where?"), response_format=form)


def test_the_built_in_model_calls_a_tool_that_it_must_call(running):
    with running.client as client:
        answer = client.chat.completions.create(
            model="free",
            messages=user("What does the lamp Luna cost?"),
            tools=[LAMP],
            tool_choice={"type": "function", "function": {"name": "lamp_price"}},
        )
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name == "lamp_price" and "lamp" in json.loads(call.function.arguments)


def test_a_loop_of_tools_over_a_stream(running):
    with running.client as client:
        messages = user("What does the Luna cost?")
        with client.chat.completions.stream(model="tools", messages=messages, tools=[LAMP]) as stream:
            message = stream.get_final_completion().choices[0].message
        (call,) = message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "49 EUR"}
        told = {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]}
        messages += [told, result]
        stream = client.chat.completions.create(model="tools", messages=messages, tools=[LAMP], stream=True)
        assert said(stream) == "The Luna costs 49 EUR."


def test_responses_of_the_built_in_model(running):
    with running.client as client:
        first = client.responses.create(model="support", input="What do express parcels cost?")
        assert (first.status, first.output_text) == ("completed", "Express parcels cost nine euros. [1]")
        (annotation,) = first.output[0].content[0].annotations
        assert annotation.filename == "delivery.md" and first.usage.output_tokens > 0
        assert client.responses.retrieve(first.id).output_text == first.output_text
        asked = {"model": "free", "input": "Tell me about lamps.", "temperature": 0, "max_output_tokens": 5}
        with client.responses.stream(**asked) as stream:
            events = list(stream)
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        response = events[-1].response
        assert pieces and "".join(pieces) == response.output_text
        assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
        again = client.responses.create(model="free", input="And more?", previous_response_id=response.id)
        assert again.previous_response_id == response.id
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model="free", input="Hi", previous_response_id="resp_nothing")


def test_errors_and_models_and_embeddings(running):
    with running.client as client:
        assert [model.id for model in client.models.list()][:2] == ["acme/endless", "acme/free"]
        assert client.models.retrieve("acme/free").owned_by == "acme"
        assert len(client.embeddings.create(model="embeddings", input="lamp").data[0].embedding) == 64
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nothing", messages=user("Hi"))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="free", messages=user("Hi"), n=2)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="sk-nothing").models.list()


def test_closing_a_stream_stops_the_model(running):
    model = running.bots.model("endless")
    with running.client as client:
        stream = client.chat.completions.create(model="endless", messages=user("Go"), stream=True, user="gone")
        for at, _ in enumerate(stream):
            if at == 20:
                break
        stream.close()
        assert until(lambda: model.stopped) < 1
        until(lambda: not running.app.state.sartor.live.running)
        spoken = model.spoken
        time.sleep(0.05)
        assert model.spoken == spoken
    store = running.bots.store.tenant("acme")
    (row,) = running.ask(store.conversations("endless", "gone", 9))
    (turn,) = running.ask(store.turns(row.id, 9))
    assert turn.reply.outcome is Outcome.CANCELLED and turn.reply.text.startswith("on on ")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_before_the_first_word_stops_the_model(running, stream):
    model = running.bots.model("endless")
    model.stopped = 0
    with running.client as client, pytest.raises(openai.APITimeoutError):
        told = {"model": "endless", "messages": user("Be silent"), "stream": stream}
        client.with_options(timeout=0.3).chat.completions.create(**told)
    assert until(lambda: model.stopped) < 2
    until(lambda: not running.app.state.sartor.live.running)


def test_the_official_node_client(running, tmp_path):
    if os.environ.get("SARTOR_NODE") != "1":
        pytest.skip("installs the npm package openai: set SARTOR_NODE=1")
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not there")
    for script in Path(__file__).with_name("openai_node").iterdir():
        shutil.copy(script, tmp_path)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=tmp_path, check=True, timeout=300)
    told = {**os.environ, "OPENAI_API_KEY": running.key, "OPENAI_BASE_URL": f"{running.url}/v1"}
    ran = subprocess.run(
        [node, "chat.mjs"], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip().endswith("all well")
