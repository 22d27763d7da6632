"""`isolation: process`: the same replies from a process of its own, which may crash, hang or be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from sartor.errors import ModelError, OverloadedError
from sartor.values import Choices
from sartor_plugins.llama import child, link, remote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

Make = Callable[..., BaseChatModel]
MakeTable = Callable[..., Path]

HI = [SystemMessage("Be kind."), HumanMessage("Hi")]
NOTE = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Writes a text down.",
        "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
    },
}
ENDLESS = {"\n": "a", "a": "a"}


def worker(model: Any) -> int:
    """The number of the model's process."""
    return int(model._engine._link.child.pid)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:  # noqa: ASYNC110 - a process tells nobody
        await asyncio.sleep(0.02)
    return not alive(pid)


def shown(message: AIMessage) -> tuple[object, ...]:
    """What a reply says and counts, without times, made-up ids, and drafts, which are made where there is time."""
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    told = {key: value for key, value in message.response_metadata.items() if not key.endswith(("_seconds", "_tokens"))}
    return message.text, calls, message.usage_metadata, told


# The same as in a thread


async def test_replies_are_those_of_a_thread(make: Make, random_model: Path) -> None:
    async def all_of(isolation: str) -> list[object]:
        model = make(random_model, isolation=isolation, max_tokens=12, threads=1)
        said = "".join([chunk.text async for chunk in model.astream(HI, temperature=1.5, seed=3)])
        called = await model.bind_tools([NOTE], tool_choice="any").ainvoke(HI, max_tokens=100)
        chosen = Choices(("We are open. [1]", "I do not know."), weights=(1.0, 2.0), quotes=1)
        schema = {"type": "json_schema", "json_schema": {"schema": NOTE["function"]["parameters"]}}
        told = [
            said,
            shown(called),
            shown(await model.ainvoke(HI, choices=chosen)),
            shown(await model.ainvoke(HI, stop=["\ud800", "e"], cache_scope="acme")),
            shown(await model.ainvoke([*HI, HumanMessage("\ud800 <|end|>\x00")], cache_scope="acme")),
            shown(await model.ainvoke(HI, cache_scope="larkfield")),
            shown(await model.ainvoke(HI, response_format=schema, max_tokens=100)),
            await asyncio.to_thread(lambda: "".join(chunk.text for chunk in model.stream(HI))),
            [round(score, 3) for score in await model.compare(HI, ["yes", "no", "certainly not"])],  # type: ignore[attr-defined]
        ]
        await model.forget("acme")  # type: ignore[attr-defined]
        told.append(shown(await model.ainvoke(HI, cache_scope="acme")))
        return told

    assert await all_of("process") == await all_of("thread")


async def test_errors_are_those_of_a_thread(make: Make, random_model: Path, tmp_path: Path) -> None:
    async def error_of(isolation: str, path: Path, messages: list[Any], **settings: object) -> tuple[object, ...]:
        model = make(path, isolation=isolation, threads=1, **settings)
        found = []
        for call in (lambda: model.ainvoke(messages), lambda: model.ainvoke(messages), model.start):  # type: ignore[attr-defined]
            try:
                await call()
            except ModelError as error:
                found.append((type(error), error.what, error.where, error.remedy))
        return tuple(found)

    for path, messages, settings, count in (
        (tmp_path / "nothere.gguf", HI, {}, 3),
        (random_model, HI, {"sha256": "0" * 64}, 3),
        (random_model, HI, {"context": 4096}, 3),
        (random_model, [HumanMessage("word " * 300)], {"context": 256}, 2),
    ):
        told = await error_of("process", path, messages, **settings)
        assert told == await error_of("thread", path, messages, **settings)
        assert len(told) == count


async def test_a_full_queue_is_told_with_the_time_to_try_again(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(ENDLESS), isolation="process", threads=1, parallel=1, queue=2)
    running = [asyncio.create_task(model.ainvoke(HI, max_tokens=1500, cache_scope="acme")) for _ in range(30)]
    done: set[asyncio.Task[AIMessage]] = set()
    while len(done) < 24:
        done |= (await asyncio.wait(set(running) - done, return_when=asyncio.FIRST_COMPLETED))[0]
    refused = [error for task in done if (error := task.exception()) is not None]
    assert len(refused) > 20
    assert all(isinstance(error, OverloadedError) and error.retry_after >= 1 for error in refused)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_cancelling_deadlines_and_unread_streams(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(ENDLESS), isolation="process", threads=1, parallel=1, seconds=60)
    stream = model.astream(HI, max_tokens=100_000)
    assert (await anext(stream)).text.startswith("a")
    waiting = asyncio.create_task(model.ainvoke(HI, max_tokens=3))
    await stream.aclose()
    assert (await asyncio.wait_for(waiting, 10)).text == "aaa"
    assert not model._engine._link._jobs  # type: ignore[attr-defined]

    late = make(table_model(ENDLESS), isolation="process", threads=1, parallel=1, seconds=0.3)
    await late.start()  # type: ignore[attr-defined]
    told = await asyncio.gather(*(late.ainvoke(HI, max_tokens=100_000) for _ in range(4)), return_exceptions=True)
    assert any(isinstance(one, ModelError) and "longer than 0.3 seconds" in str(one) for one in told)

    unread = make(table_model(ENDLESS), isolation="process", threads=1, idle_seconds=0.05)
    stream = unread.astream(HI, max_tokens=100_000)
    await anext(stream)
    time.sleep(0.6)  # noqa: ASYNC251 - the loop hangs, as that of a bad host would
    with pytest.raises(ModelError, match=r"nobody read the reply for 0\.05 seconds"):
        async for _ in stream:
            time.sleep(0)  # noqa: ASYNC251


# Crashes


async def partly(stream: Any, begun: asyncio.Event) -> list[AIMessageChunk]:
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        begun.set()
    return chunks


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
async def test_a_crash_ends_the_replies_under_way_and_the_next_is_answered(
    make: Make, table_model: MakeTable, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = table_model(ENDLESS)
    model = make(path, isolation="process", threads=1, max_tokens=100_000)
    begun = [asyncio.Event() for _ in range(5)]
    tasks = [asyncio.create_task(partly(model.astream(HI, cache_scope=f"t{n}"), one)) for n, one in enumerate(begun)]
    await asyncio.gather(*(one.wait() for one in begun))
    first = worker(model)
    os.kill(first, getattr(signal, name))
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert type(error) is ModelError
        assert f"ended by {name}" in error.what
        assert error.where == str(path)
        assert error.remedy is not None and "next request is served" in error.remedy
        assert ("memory" in str(error)) is (name == "SIGKILL")
    assert name in caplog.text
    assert (await model.ainvoke(HI, max_tokens=3)).text == "aaa"
    assert worker(model) != first


async def test_forgetting_and_starting_survive_a_crash(make: Make, table_model: MakeTable) -> None:
    model: Any = make(table_model(ENDLESS), isolation="process", threads=1)
    await model.forget("acme")
    await model.start()
    os.kill(worker(model), signal.SIGSTOP)
    forgetting = asyncio.create_task(model.forget("acme"))
    starting = asyncio.create_task(model.start())
    await asyncio.sleep(0.1)
    os.kill(worker(model), signal.SIGKILL)
    await forgetting
    with pytest.raises(ModelError, match="SIGKILL"):
        await starting
    await model.start()


async def test_a_worker_that_crashes_at_its_start_is_tried_again_after_a_pause(
    make: Make, table_model: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = make(table_model(ENDLESS), isolation="process", threads=1, max_tokens=3)
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.4)
    with monkeypatch.context() as patch:
        patch.setattr(child, "_MODULE", "sartor_plugins.llama.nothere")
        with pytest.raises(ModelError, match=r"ended with code 1 at its start.*No module named"):
            await model.ainvoke(HI)
        with pytest.raises(ModelError, match=r"No module named.*another attempt is made in 0\.[1-4] seconds"):
            await model.ainvoke(HI)
        await asyncio.sleep(0.5)
        with pytest.raises(ModelError, match="ended with code 1 at its start"):
            await model.ainvoke(HI)
        with pytest.raises(ModelError, match=r"another attempt is made in 0\.[5-8] seconds"):
            await model.start()
    await asyncio.sleep(0.9)
    assert (await model.ainvoke(HI)).text == "aaa"


async def test_a_worker_that_hangs_is_ended(
    make: Make, table_model: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_GRACE", 0.5)
    model: Any = make(table_model(ENDLESS), isolation="process", threads=1, seconds=0.5)
    await model.start()
    first = worker(model)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(ModelError, match=r"did not answer any more|longer than 0\.5 seconds"):
        await model.ainvoke(HI)
    assert await gone(first)
    assert await asyncio.to_thread(model._engine._link._gone.wait, 10)
    await model.start()
    assert (await model.ainvoke(HI, max_tokens=3)).text == "aaa"


@pytest.mark.parametrize("made", ["text", "garbled", "error"])
async def test_what_a_damaged_worker_sends_is_not_believed(
    make: Make, table_model: MakeTable, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    model: Any = make(table_model(ENDLESS), isolation="process", threads=1, max_tokens=3)
    await model.start()
    monstrous = {"text": 1, "garbled": {"kind": "Ended"}, "error": {"kind": "Text", "text": "a"}}[made]
    read = child.Child.read

    def damaged(self: child.Child) -> dict[str, Any] | None:
        frame = read(self)
        for one in frame["all"] if frame else ():
            if "events" in one:
                one["events"] = [monstrous]
        return frame

    with monkeypatch.context() as patch:
        patch.setattr(child.Child, "read", damaged)
        await model.close()
        with pytest.raises(ModelError, match="was ended, since it sent what cannot be understood"):
            await model.ainvoke(HI)
    assert (await model.ainvoke(HI)).text == "aaa"


# Its life


async def test_closing_leaves_no_process_thread_or_file(make: Make, table_model: MakeTable) -> None:
    path = table_model(ENDLESS)
    before = set(os.listdir("/proc/self/fd"))
    threads = {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    for way in range(3):
        model: Any = make(path, isolation="process", threads=1)
        begun = asyncio.Event()
        running = asyncio.create_task(partly(model.astream(HI, max_tokens=100_000 if way == 1 else 50), begun))
        await begun.wait()
        pid = worker(model)
        if way == 1:
            os.kill(pid, signal.SIGKILL)
        await model.close()
        assert not alive(pid)
        if way == 1:
            with pytest.raises(ModelError):
                await running
        else:
            assert sum(len(chunk.text) for chunk in await running) == 50  # what was submitted is finished
    assert threads >= {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # which this listing itself has open


@pytest.mark.parametrize("way", ["exit", "kill", "fork"])
async def test_it_ends_with_its_parent(table_model: MakeTable, way: str) -> None:
    code = """
        import asyncio, os, sys, time
        from pathlib import Path
        from sartor_plugins.llama.model import LlamaChatModel
        from sartor_plugins.llama.settings import LlamaSettings

        async def main():
            settings = LlamaSettings(path=sys.argv[1], probe=False, isolation="process", threads=1)
            model = LlamaChatModel(settings, Path("/"))
            stream = model.astream("Hi", max_tokens=100_000)
            await anext(stream)
            print(model._engine._link.child.pid, flush=True)
            if sys.argv[2] == "fork" and not os.fork():  # it holds the pipe open
                os.close(1)
                time.sleep(4)
                os._exit(0)
            if sys.argv[2] != "exit":
                os.kill(os.getpid(), 9)
            sys.exit(0)

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(code), str(table_model(ENDLESS)), way),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    pid = int(out.split()[0])
    assert await gone(pid, 3)
    assert process.returncode == (0 if way == "exit" else -9), err


async def test_ctrl_c_is_its_parents_business(make: Make, table_model: MakeTable) -> None:
    model = make(table_model(ENDLESS), isolation="process", threads=1)
    stream = model.astream(HI, max_tokens=40)
    said = (await anext(stream)).text
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker(model), number)
    assert said + "".join([chunk.text async for chunk in stream]) == 40 * "a"


async def test_it_knows_no_secrets_and_leaves_no_core(
    make: Make, table_model: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_API_KEY", "a secret")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    model: Any = make(table_model(ENDLESS), isolation="process", threads=1, max_tokens=1)
    await model.start()
    process = Path(f"/proc/{worker(model)}")
    environment = (process / "environ").read_text()
    assert "OMP_NUM_THREADS" in environment
    assert not any(word in environment for word in ("secret", "LANGSMITH", "API_KEY"))
    limits = (process / "limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def test_it_starts_without_langchain() -> None:
    code = "import json, sys, sartor_plugins.llama.worker; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert not {"langchain_core", "langsmith", "sqlalchemy"} & set(json.loads(done.stdout))


async def test_a_process_that_cannot_be_started(
    make: Make, table_model: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "get_executable", lambda: b"/no/where/python")
    with pytest.raises(ModelError, match=r"/no/where/python: No such file(.|\n)*set_executable"):
        await make(table_model(ENDLESS), isolation="process").ainvoke(HI)
