"""The plugin as LangChain and the core use it: streaming, tools, cancelling, tenants, errors."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ValidationError
from sartor.errors import ModelError
from sartor.values import Choices
from sartor_plugins.llama import LlamaPlugin
from sartor_plugins.llama.messages import joined
from sartor_plugins.llama.reply import Ended
from sartor_plugins.llama.toolcalls import Call, Text

Make = Callable[..., BaseChatModel]
MakeTable = Callable[..., Path]

HI = [SystemMessage("Be kind."), HumanMessage("Hi")]
HOURS = {
    "type": "function",
    "function": {
        "name": "hours",
        "description": "When the shop is open.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Bonn"]}, "today": {"type": "boolean"}},
            "required": ["city", "today"],
        },
    },
}
NOTE = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Writes a text down.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}
SAYS_ABC = {"\n": "a", "a": "b", "b": "c", "c": "<|end|>"}


async def collect(stream: object) -> tuple[list[AIMessageChunk], AIMessageChunk]:
    chunks = [chunk async for chunk in stream]  # type: ignore[attr-defined]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return chunks, whole


async def test_it_streams_and_counts(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(SAYS_ABC))
    chunks, whole = await collect(model.astream(HI))
    assert "".join(chunk.text for chunk in chunks) == whole.text == "abc"
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["first_token_seconds"] >= whole.response_metadata["queue_seconds"] >= 0
    usage = whole.usage_metadata
    assert usage is not None
    assert usage["output_tokens"] == 3
    assert usage["input_tokens"] > 10
    assert usage["input_token_details"] == {"cache_read": 0}


def test_pieces_of_text_that_come_together_are_one_chunk() -> None:
    call, end = Call("1", "note", "{}"), Ended("stop", 1, 0, 3, 0.1)
    events = [Text("a"), Text("b"), call, call, Text("c"), Text("d"), end]
    assert list(joined(events)) == [Text("ab"), call, call, Text("cd"), end]


async def test_every_way_to_call_says_the_same(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(SAYS_ABC))
    assert (await model.ainvoke(HI)).text == "abc"
    assert (await asyncio.to_thread(model.invoke, HI)).text == "abc"
    assert await asyncio.to_thread(lambda: "".join(chunk.text for chunk in model.stream(HI))) == "abc"
    assert [message.text for message in await model.abatch([HI, HI, HI])] == ["abc"] * 3


async def test_unknown_keyword_arguments_are_ignored(make: Make, table_model: MakeTable) -> None:
    assert (await make(table_model(SAYS_ABC)).ainvoke(HI, choices=None, cache_scope="acme", whatever=1)).text == "abc"


async def test_max_tokens_and_stop_end_a_reply(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(SAYS_ABC))
    cut = await model.ainvoke(HI, max_tokens=2)
    assert (cut.text, cut.response_metadata["finish_reason"]) == ("ab", "length")
    for stop, said in [(["c"], "ab"), (["bc"], "a"), (["ab"], ""), (["bx", "cx"], "abc"), ([""], "abc")]:
        assert (await model.ainvoke(HI, stop=stop)).text == said


async def test_the_seed_decides(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=1.0, max_tokens=16)
    said = [(await model.ainvoke(HI, seed=seed)).text for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


async def test_many_at_once_are_answered(make: Make, random_model: Path) -> None:
    """Two tokens may be nearer to one another than batches of different shapes round: one reply of six may differ."""
    model = make(random_model, max_tokens=8, temperature=0)

    def same(said: Iterable[str]) -> int:
        return sum(one == other for one, other in zip(said, alone, strict=True))

    alone = [(await model.ainvoke([HumanMessage(f"Question {n}")])).text for n in range(6)]
    together = await asyncio.gather(*(model.ainvoke([HumanMessage(f"Question {n}")]) for n in range(6)))
    assert same(message.text for message in together) >= 5
    with ThreadPoolExecutor(6) as pool:
        threads = [pool.submit(model.invoke, [HumanMessage(f"Question {n}")]) for n in range(6)]
        said = await asyncio.to_thread(lambda: [one.result().text for one in threads])
    assert same(said) >= 5


async def test_a_cancelled_reply_stops_and_the_next_one_runs(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), max_tokens=100_000)
    stream = model.astream(HI)
    assert (await anext(stream)).text.startswith("a")
    await stream.aclose()
    task = asyncio.create_task(model.ainvoke(HI))
    waiting = asyncio.create_task(model.ainvoke(HI, max_tokens=3))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(waiting, 10)).text == "aaa"


async def test_cancelling_stops_within_the_prompt(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=4)
    await model.start()
    long = [HumanMessage("word " * 380)]
    began = time.monotonic()
    await model.ainvoke(long)
    whole = time.monotonic() - began
    task = asyncio.create_task(model.ainvoke(long))
    await asyncio.sleep(whole / 20)
    task.cancel()
    began = time.monotonic()
    assert (await model.ainvoke(HI)).usage_metadata is not None
    assert time.monotonic() - began < whole + 1


async def test_closing_ends_the_thread_and_a_later_call_loads_again(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(SAYS_ABC))
    await model.start()
    assert any(thread.name.startswith("llama:") for thread in threading.enumerate())
    await model.close()
    assert not any(thread.name.startswith("llama:") for thread in threading.enumerate())
    assert (await model.ainvoke(HI)).text == "abc"


# Tenants


async def test_a_prefix_is_reused_inside_one_scope_only(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)

    async def cached(scope: str | None, text: str) -> int:
        said = await model.ainvoke([SystemMessage("A secret price list."), HumanMessage(text)], cache_scope=scope)
        return int(said.usage_metadata["input_token_details"]["cache_read"])

    assert await cached("acme", "Hi") == 0
    assert await cached("acme", "Hi there") > 20
    assert await cached("larkfield", "Hi there") == 0
    assert await cached("acme", "Hi there") > 20
    assert await cached(None, "Hi there") == 0
    assert await cached(None, "Hi there") == 0
    assert await cached("", "Hi there") == 0
    assert await cached("acme", "Hi there") > 20
    await model.forget("acme")
    assert await cached("acme", "Hi there") == 0
    assert await cached("larkfield", "Hi there") > 20


async def test_a_reused_prefix_changes_no_reply(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=12, temperature=0)
    questions = ["Hi", "Hi there", "Hi the", "Ho"]
    fresh = [(await model.ainvoke([SystemMessage("Be kind."), HumanMessage(text)])).text for text in questions]
    again = []
    for text in questions:
        said = await model.ainvoke([SystemMessage("Be kind."), HumanMessage(text)], cache_scope="acme")
        again.append(said.text)
    assert again == fresh


# Tools


async def test_a_forced_call_fits_the_schema_whatever_the_weights(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=2.0)
    for seed in range(5):
        bound = model.bind_tools([HOURS, NOTE], tool_choice="hours")
        _, whole = await collect(bound.astream(HI, seed=seed, max_tokens=200, cache_scope="acme"))
        call = whole.tool_calls[0]
        assert call["name"] == "hours"
        assert call["args"]["city"] in ("Rome", "Bonn")
        assert call["args"]["today"] in (True, False)
        assert call["id"]


async def test_the_model_calls_of_its_own_accord_and_text_before_streams(make: Make, table_model: MakeTable) -> None:
    follows = {"\n": "a", "a": "<tool_call>", "</tool_call>": "<|end|>", ">": "<|end|>"}
    model = make(table_model(follows), temperature=0)
    chunks, whole = await collect(model.bind_tools([HOURS]).astream(HI))
    assert chunks[0].text == "a"
    assert whole.text == "a"
    assert [call["name"] for call in whole.tool_calls] == ["hours"]
    assert not whole.invalid_tool_calls
    assert whole.response_metadata["finish_reason"] == "tool_calls"


async def test_a_call_that_is_cut_off_is_invalid_and_never_repaired(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({'"': "x", "x": "x"}), temperature=0)
    bound = model.bind_tools([NOTE], tool_choice="any")
    _, whole = await collect(bound.astream(HI, max_tokens=60))
    assert whole.tool_calls == []
    assert len(whole.invalid_tool_calls) == 1
    assert "note" in (whole.invalid_tool_calls[0]["args"] or "")
    invoked = await bound.ainvoke(HI, max_tokens=60)
    assert invoked.tool_calls == [] and len(invoked.invalid_tool_calls) == 1


async def test_text_or_call_is_the_models_choice(make: Make, table_model: MakeTable) -> None:
    choices = Choices(("We are open. [1]", "I do not know."), quotes=1)
    for weight, called in [(1.0, True), (-1.0, False)]:
        follows = {"\n": [("<tool_call>", weight), ("W", 0.2)], "</tool_call>": "<|end|>", ">": "<|end|>"}
        model = make(table_model(follows), temperature=0)
        _, whole = await collect(model.bind_tools([HOURS]).astream(HI, choices=choices, max_tokens=200))
        assert bool(whole.tool_calls) is called
        assert whole.text == ("" if called else "We are open. [1]")


async def test_calls_and_results_are_part_of_the_prompt(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    call = {"id": "c1", "name": "hours", "args": {"city": "Rome"}, "type": "tool_call"}
    long = [*HI, AIMessage("", tool_calls=[call]), ToolMessage("9 to 5", tool_call_id="c1")]
    short = (await model.ainvoke(HI)).usage_metadata["input_tokens"]
    assert (await model.bind_tools([HOURS]).ainvoke(long)).usage_metadata["input_tokens"] > short + 20


async def test_structured_output(make: Make, random_model: Path) -> None:
    class Open(BaseModel):
        """Whether the shop is open."""

        open: bool
        days: list[bool]

    model = make(random_model, temperature=0)
    found = await model.with_structured_output(Open).ainvoke(HI)
    assert isinstance(found, Open)


async def test_a_choice_of_a_tool_that_is_not_bound_is_refused(make: Make, random_model: Path) -> None:
    with pytest.raises(ModelError, match="nothere"):
        await make(random_model).bind_tools([HOURS], tool_choice="nothere").ainvoke(HI)


# Errors


async def test_a_prompt_that_is_too_long(make: Make, random_model: Path) -> None:
    model = make(random_model, context=256)
    with pytest.raises(ModelError, match=r"prompt has \d{3,} tokens, the model's context 256[^0-9](.|\n)*`context`"):
        await model.ainvoke([HumanMessage("word " * 300)])
    assert (await model.ainvoke(HI, max_tokens=2)).usage_metadata["output_tokens"] == 2


async def test_the_context_ends_a_reply(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), context=256)
    said = await model.ainvoke(HI, max_tokens=10_000)
    assert said.response_metadata["finish_reason"] == "length"
    assert said.usage_metadata["total_tokens"] == 256


def _broken(kind: str, good: Path, directory: Path) -> Path:
    path = directory / f"{kind}.gguf"
    data = good.read_bytes()
    match kind:
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("hello, I am no model")
        case "lfs":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        case "empty":
            path.write_bytes(b"")
        case "head":
            path.write_bytes(data[:20])
        case "half":
            path.write_bytes(data[: len(data) // 2])
        case "version":
            path.write_bytes(data[:4] + b"\x63" + data[5:])
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "lfs", "empty", "head", "half", "version"])
async def test_a_file_that_is_no_model_is_named(make: Make, random_model: Path, tmp_path: Path, kind: str) -> None:
    path = _broken(kind, random_model, tmp_path)
    model = make(path)
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            await model.ainvoke(HI)
        assert str(path) in str(caught.value)
        assert caught.value.remedy
    with pytest.raises(ModelError):
        await model.start()


async def test_the_library_says_nothing_on_stderr(
    make: Make, random_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=r"llama\.cpp cannot load"):
        await make(_broken("half", random_model, tmp_path)).ainvoke(HI)
    await make(random_model, max_tokens=2).ainvoke(HI)
    assert capfd.readouterr() == ("", "")


async def test_another_file_than_the_pinned_one_is_refused(make: Make, random_model: Path) -> None:
    digest = hashlib.sha256(await asyncio.to_thread(random_model.read_bytes)).hexdigest()
    assert (await make(random_model, sha256=digest.upper(), max_tokens=1).ainvoke(HI)).usage_metadata
    with pytest.raises(ModelError, match="SHA-256"):
        await make(random_model, sha256="0" * 64).ainvoke(HI)


async def test_a_context_beyond_the_model(make: Make, random_model: Path) -> None:
    with pytest.raises(ModelError, match="at most 2048"):
        await make(random_model, context=4096).ainvoke(HI)


async def test_a_model_without_a_template(make: Make, table_model: MakeTable, tmp_path: Path) -> None:
    path = table_model(SAYS_ABC, template=None)
    with pytest.raises(ModelError, match="no chat template"):
        await make(path).ainvoke(HI)
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}{{ m.content }}{% endfor %}{{ '\\n' }}")
    assert (await make(path, template=str(own)).ainvoke(HI)).text == "abc"


async def test_pictures_are_refused(make: Make, random_model: Path) -> None:
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])
    with pytest.raises(ModelError, match="text only"):
        await make(random_model).ainvoke([picture])


def test_settings_are_checked() -> None:
    for wrong in ({"contexts": 1}, {"sha256": "abc"}, {"choice": "best"}, {"temperature": -1}):
        with pytest.raises(ValidationError):
            LlamaPlugin.Settings.model_validate({"path": "x", **wrong})


def test_building_loads_nothing(tmp_path: Path) -> None:
    settings = LlamaPlugin.Settings.model_validate({"path": "not-there.gguf"})
    model = LlamaPlugin(settings, tmp_path).sartor_model()
    assert model.supports_choices and model.accepts_cache_scope
