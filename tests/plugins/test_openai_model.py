"""The plugin `openai` against a server of our own on a real socket, well-behaved and not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from pydantic import ValidationError
from sartor.errors import ModelError, UsageError
from sartor.values import Choices
from sartor_plugins.openai_model import OpenAIModelPlugin
from sartor_plugins.openai_model.choices import fits, grammar
from sartor_plugins.openai_model.model import OpenAIChatModel

HI = [SystemMessage("Be kind."), HumanMessage("Hi")]
STREAM = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TOOL = {
    "type": "function",
    "function": {"name": "hours", "description": "When open", "parameters": {"type": "object", "properties": {}}},
}


@dataclass
class Server:
    """Answers each request with the next of `answers`: bytes, or numbers of seconds to wait between them."""

    answers: list[list[bytes | float]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], dict[str, object]]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
            headers = {name.lower(): value for name, _, value in pairs if name}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            headers[""] = head.split("\r\n")[0]
            self.requests.append((headers, body))
            self.asked.set()
            for part in self.answers.pop(0):
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                    continue
                gone = asyncio.ensure_future(reader.read())
                await asyncio.wait([gone], timeout=part)
                if gone.done():
                    self.left.set()
                    return
                gone.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


def sse(*events: object, done: bool = True) -> list[bytes | float]:
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events]
    return [STREAM.encode(), *lines, *([b"data: [DONE]\n\n"] if done else [])]


def delta(text: str | None = None, *, finish: str | None = None, calls: list[object] | None = None) -> object:
    told = {"content": text, "tool_calls": calls}
    return {"choices": [{"index": 0, "delta": told, "finish_reason": finish}]}


USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
}


def status(code: int, body: str = "", *headers: str) -> list[bytes | float]:
    head = [f"HTTP/1.1 {code} Whatever", f"content-length: {len(body)}", "connection: close", *headers]
    return ["\r\n".join([*head, "", body]).encode()]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


Make = Callable[..., OpenAIChatModel]


@pytest.fixture
async def make(server: Server, tmp_path: Path) -> AsyncIterator[Make]:
    models: list[OpenAIChatModel] = []

    def model(**settings: object) -> OpenAIChatModel:
        told = OpenAIModelPlugin.Settings.model_validate({"url": server.url, "model": "m", **settings})
        models.append(OpenAIModelPlugin(told, tmp_path).sartor_model())
        return models[-1]

    yield model
    for one in models:
        await one.close()


async def collect(stream: AsyncIterator[AIMessageChunk]) -> tuple[list[AIMessageChunk], AIMessageChunk]:
    chunks = [chunk async for chunk in stream]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return chunks, whole


async def test_it_streams_and_counts(server: Server, make: Make) -> None:
    server.answers.append(sse(delta("Hel"), delta("lo"), delta(finish="stop"), USAGE))
    chunks, whole = await collect(make().astream(HI))
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hel", "lo"]
    assert whole.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 2,
        "total_tokens": 11,
        "input_token_details": {"cache_read": 4},
    }
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_the_first_piece_comes_before_the_last(server: Server, make: Make) -> None:
    first, *rest = sse(delta("a"), delta("b"), delta(finish="stop"))
    server.answers.append([first, rest[0], 30.0, *rest[1:]])
    stream = make().astream(HI)
    async with asyncio.timeout(5):
        assert (await anext(stream)).text == "a"
    await stream.aclose()


async def test_what_is_sent(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-1234")
    (tmp_path / "org").write_text("org-9\n")
    server.answers.append(sse(delta("ok"), delta(finish="stop")))
    model = make(api_key="env:SOME_KEY", headers={"X-Org": "file:org", "X-Plain": "a"}, temperature=0.5)
    call = {"id": "c1", "name": "hours", "args": {"day": "ü"}, "type": "tool_call"}
    messages = [*HI, AIMessage("", tool_calls=[call]), ToolMessage("9 to 5", tool_call_id="c1")]
    bound = model.bind_tools([TOOL], tool_choice="any")
    await bound.ainvoke(messages, max_tokens=7, cache_scope="acme", choices=Choices(("a",)), whatever=1, stop=["x"])
    headers, body = server.requests[0]
    assert headers[""] == "POST /v1/chat/completions HTTP/1.1"
    assert (headers["authorization"], headers["x-org"], headers["x-plain"]) == ("Bearer sk-1234", "org-9", "a")
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "hours", "arguments": '{"day": "ü"}'}}
                ],
            },
            {"role": "tool", "content": "9 to 5", "tool_call_id": "c1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.5,
        "stop": ["x"],
        "tools": [TOOL],
        "tool_choice": "required",
    }


async def test_a_salt_for_each_tenant(server: Server, make: Make) -> None:
    model = make(cache_salt=True, max_tokens_field="max_completion_tokens")
    for scope in ("acme", "acme", "larkfield", None):
        server.answers.append(sse(delta("ok"), delta(finish="stop")))
        await model.ainvoke(HI, cache_scope=scope)
    salts = [body.get("cache_salt") for _, body in server.requests]
    assert salts[0] == salts[1] != salts[2]
    assert salts[3] is None
    assert "acme" not in str(salts)
    assert server.requests[0][1]["max_completion_tokens"] == 512


async def test_tool_calls_in_pieces(server: Server, make: Make) -> None:
    pieces = [
        [{"index": 0, "id": "c1", "function": {"name": "hours", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"day": "Mo'}}],
        [{"index": 1, "id": "c2", "function": {"name": "hours", "arguments": "{}"}}],
        [{"index": 0, "function": {"arguments": 'nday"}'}}],
    ]
    server.answers.append(sse(delta("Let me see."), *(delta(calls=p) for p in pieces), delta(finish="tool_calls")))
    _, whole = await collect(make().bind_tools([TOOL]).astream(HI))
    assert whole.text == "Let me see."
    assert [(call["id"], call["args"]) for call in whole.tool_calls] == [("c1", {"day": "Monday"}), ("c2", {})]


async def test_a_call_that_is_cut_off_is_invalid_and_never_repaired(server: Server, make: Make) -> None:
    cut = [{"index": 0, "id": "c1", "function": {"name": "pay", "arguments": '{"amount": 10'}}]
    server.answers.append(sse(delta(calls=cut), delta(finish="length")))
    _, whole = await collect(make().bind_tools([TOOL]).astream(HI))
    assert whole.tool_calls == []
    assert [call["name"] for call in whole.invalid_tool_calls] == ["pay"]


async def test_line_separators_inside_texts(server: Server, make: Make) -> None:
    text = "a\u2028b\x85c\x0cd ü €"
    raw = b"".join(part for part in sse(delta(text), delta(finish="stop"), done=False) if isinstance(part, bytes))
    server.answers.append([raw[at : at + 7] for at in range(0, len(raw), 7)])
    assert (await make().ainvoke(HI)).text == text


async def test_comments_and_carriage_returns(server: Server, make: Make) -> None:
    data = json.dumps(delta("hi", finish="stop"))
    server.answers.append([STREAM.encode(), f": ping\r\n\r\nevent: x\r\ndata:{data}\r\n\r\ndata: [DONE]\r\n".encode()])
    assert (await make().ainvoke(HI)).text == "hi"


async def test_without_a_loop(server: Server, make: Make) -> None:
    server.answers += [sse(delta("hi"), delta(finish="stop")) for _ in range(2)]
    model = make()
    assert (await asyncio.to_thread(model.invoke, HI)).text == "hi"
    assert await asyncio.to_thread(lambda: "".join(chunk.text for chunk in model.stream(HI))) == "hi"


# Cancelling


@pytest.mark.parametrize("begun", [True, False])
async def test_cancelling_closes_the_connection(server: Server, make: Make, begun: bool) -> None:
    server.answers.append([STREAM.encode(), 30.0] if begun else [30.0])
    task = asyncio.create_task(make().ainvoke(HI))
    async with asyncio.timeout(5):
        await server.asked.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await server.left.wait()


async def test_closing_the_stream_closes_the_connection(server: Server, make: Make) -> None:
    first, *rest = sse(delta("a"))
    server.answers.append([first, rest[0], 30.0])
    stream = make().astream(HI)
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(5):
        await server.left.wait()


# Errors


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            status(401, '{"error": {"message": "Incorrect API key provided: sk-1234"}}'),
            "401.*provided: …(.|\n)*api_key",
        ),
        (status(404, '{"error": {"message": "The model `m` does not exist"}}'), "404.*does not exist(.|\n)*`model`"),
        (status(400, '{"detail": "too long"}'), "400: too long"),
        (status(422, '{"object": "error", "message": "bad"}'), "422: bad"),
        (status(500, "<html>oops</html>"), "500$|500\n"),
        (status(302, "", "location: http://elsewhere/"), "302"),
        (status(429, "{}", "retry-after: 3600"), "429; it asks to wait 3600 s"),
        (status(200, "<html>", "content-type: text/html"), "content type is 'text/html'"),
        (sse(delta("a"), done=False), "ended in the middle"),
        ([STREAM.encode(), b"data: {nonsense\n\n"], "is no JSON"),
        ([STREAM.encode(), b"data: [1]\n\n"], "no JSON object"),
        (sse({"error": {"message": "out of memory"}}), "out of memory"),
        ([b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\ndata: "], "broke"),
        ([b"nonsense\r\n\r\n"], "broke"),
        ([], "broke"),
    ],
)
async def test_every_failure_is_a_model_error(
    server: Server, make: Make, answer: list[bytes | float], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-1234")
    server.answers.append(answer)
    with pytest.raises(ModelError, match=said) as caught:
        await make(api_key="env:SOME_KEY").ainvoke(HI)
    assert server.url in str(caught.value)
    assert caught.value.remedy or "out of memory" in said
    assert "sk-1234" not in str(caught.value)
    assert len(server.requests) == 1


async def test_no_connection_is_tried_again_and_then_named(server: Server, make: Make) -> None:
    with pytest.raises(ModelError, match=r"cannot be reached(.|\n)*`url`"):
        await make(url="http://127.0.0.1:9/v1", retries=1).ainvoke(HI)


@pytest.mark.parametrize("code", [429, 502, 503])
async def test_what_may_pass_is_tried_again(server: Server, make: Make, code: int) -> None:
    server.answers += [status(code, "", "retry-after: 0"), sse(delta("hi"), delta(finish="stop"))]
    assert (await make().ainvoke(HI)).text == "hi"
    assert len(server.requests) == 2


async def test_retries_are_bounded(server: Server, make: Make) -> None:
    server.answers += [status(503, "", "retry-after: 0") for _ in range(9)]
    with pytest.raises(ModelError, match="503"):
        await make(retries=2).ainvoke(HI)
    assert len(server.requests) == 3


async def test_nothing_is_tried_again_after_the_first_byte(server: Server, make: Make) -> None:
    server.answers += [sse(delta("a"), done=False), sse(delta("b"), delta(finish="stop"))]
    with pytest.raises(ModelError, match="in the middle"):
        await make().ainvoke(HI)
    assert len(server.requests) == 1


@pytest.mark.parametrize("begun", [True, False])
async def test_a_silent_server(server: Server, make: Make, begun: bool) -> None:
    server.answers.append([STREAM.encode(), 30.0] if begun else [30.0])
    with pytest.raises(ModelError, match=r"silent for too long(.|\n)*`timeout`"):
        await make(timeout=0.2).ainvoke(HI)


async def test_a_missing_secret_is_an_error_of_usage(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        await make(api_key="env:NO_SUCH_KEY").ainvoke(HI)


def test_settings_are_checked() -> None:
    for wrong in ({"url": "localhost:8000"}, {"model": None}, {"key": "x"}, {"timeout": 0}):
        with pytest.raises(ValidationError):
            OpenAIModelPlugin.Settings.model_validate({"url": "http://x/v1", "model": "m", **wrong})


# Choices

CHOICES = Choices(("One. [1]", 'Say "two". [2]', "Three\n. [3]", "I do not know."), quotes=3, at_most=2)


async def test_a_reply_in_a_grammar(server: Server, make: Make) -> None:
    server.answers.append(sse(delta("One. "), delta("[1]"), delta(finish="stop"), USAGE))
    model = make(grammar=True)
    assert model.supports_choices
    _, whole = await collect(model.astream(HI, choices=CHOICES, max_tokens=1))
    assert whole.text == "One. [1]"
    assert whole.usage_metadata is not None
    body = server.requests[0][1]
    assert body["grammar"] == grammar(CHOICES)
    assert int(str(body["max_tokens"])) > 20


async def test_a_server_that_ignores_the_grammar(server: Server, make: Make) -> None:
    server.answers.append(sse(delta("Anything."), delta(finish="stop")))
    with pytest.raises(ModelError, match=r"did not keep to the grammar(.|\n)*grammar: false"):
        await make(grammar=True).ainvoke(HI, choices=CHOICES)


async def test_choices_beside_tools(server: Server, make: Make) -> None:
    call = [{"index": 0, "id": "c1", "function": {"name": "hours", "arguments": "{}"}}]
    bound = make(grammar=True).bind_tools([TOOL])
    server.answers.append(sse(delta(calls=call), delta(finish="tool_calls")))
    assert (await bound.ainvoke(HI, choices=CHOICES)).tool_calls[0]["id"] == "c1"
    server.answers.append(sse(delta("I do not know."), delta(finish="stop")))
    assert (await bound.ainvoke(HI, choices=CHOICES)).text == "I do not know."
    server.answers += [
        sse(delta("Well, er"), delta(finish="stop"), USAGE),
        sse(delta("One. [1]"), delta(finish="stop"), USAGE),
    ]
    said = await bound.ainvoke(HI, choices=CHOICES)
    assert said.text == "One. [1]"
    assert said.usage_metadata is not None and said.usage_metadata["input_tokens"] == 18
    assert [("tools" in body, "grammar" in body) for _, body in server.requests] == [
        (True, False),
        (True, False),
        (True, False),
        (False, True),
    ]


def test_which_texts_fit() -> None:
    texts = CHOICES.texts
    for good in (*texts, f"{texts[0]} {texts[2]}", f"{texts[2]} {texts[0]}"):
        assert fits(good, CHOICES)
    for bad in ("", "One.", f"{texts[0]} {texts[0]}", f"{texts[0]} {texts[3]}", " ".join(texts[:3]), texts[0] + " "):
        assert not fits(bad, CHOICES)
