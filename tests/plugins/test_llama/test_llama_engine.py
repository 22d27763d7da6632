"""The engine at work: the same replies as one at a time, tenants apart, fair, bounded, and nothing lost."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from sartor.errors import ModelError, OverloadedError
from sartor.values import Choices, Workload
from sartor_plugins.llama.engine import crew, memory
from sartor_plugins.llama.engine.context import Context
from sartor_plugins.llama.engine.crew import Limits
from sartor_plugins.llama.engine.engine import Engine
from sartor_plugins.llama.engine.jobs import AsyncOutbox, Job, SyncOutbox
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.reply import Request
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.settings import LlamaSettings

if TYPE_CHECKING:
    from conftest import Desk

Make = Callable[..., BaseChatModel]
MakeTable = Callable[..., Path]

TOLERANCE = 0.05
"""Logits of the same place in batches of different shapes differ by rounding; measured: up to 0.03."""
QUESTIONS = [f"{word} and {number}" for number, word in enumerate(["Hi", "Where", "When", "Who", "the other one"] * 3)]


def ask(model: BaseChatModel, text: str, tenant: str | None = None, **options: Any) -> Any:
    return model.ainvoke([SystemMessage("Be kind to all."), HumanMessage(text)], cache_scope=tenant, **options)


def counts(message: AIMessage) -> tuple[int, int]:
    """Tokens of the prompt, and those of them that were not computed."""
    assert message.usage_metadata is not None
    return message.usage_metadata["input_tokens"], message.usage_metadata["input_token_details"]["cache_read"]


# The same as one at a time


def sequential(path: Path, prompt: list[int], count: int) -> tuple[list[int], np.ndarray]:
    """Tokens and logits of `llama_cpp.Llama`, greedy, alone."""
    import llama_cpp

    llama = llama_cpp.Llama(str(path), n_ctx=1024, logits_all=True, verbose=False, n_threads=1)
    tokens, rows = list(prompt), []
    llama.eval(tokens)
    for _ in range(count):
        rows.append(llama.scores[len(tokens) - 1].copy())
        tokens.append(int(rows[-1].argmax()))
        llama.eval(tokens[-1:])
    llama.close()
    return tokens[len(prompt) :], np.array(rows)


@pytest.mark.parametrize("speculation", [0, 7])
def test_greedy_replies_are_those_of_a_sequential_run_alone_and_in_any_batch(
    desk: Desk, random_model: Path, speculation: int
) -> None:
    count = 24
    prompts = [f"<|user|>\n{text}<|end|>\n<|assistant|>\n" for text in QUESTIONS]
    expected = {text: sequential(random_model, desk.vocabulary.text(text), count) for text in prompts}

    def speak(wanted: list[int]) -> Callable[[Track], Generator[Need, None, list[np.ndarray]]]:
        """Follows the sequential run, so that every place can be compared, and keeps the logits."""

        def run(track: Track) -> Generator[Need, None, list[np.ndarray]]:
            rows = []
            for token in wanted:
                rows.append((yield from track.logits()).copy())
                track.push([token])
            return rows

        return run

    def compare(text: str, rows: list[np.ndarray]) -> None:
        tokens, logits = expected[text]
        assert np.abs(np.array(rows) - logits).max() < TOLERANCE
        for row, token in zip(rows, tokens, strict=True):
            assert int(row.argmax()) == token or row.max() - row[token] < 2 * TOLERANCE

    for text in prompts[:3]:
        compare(text, desk.run(text, speak(expected[text][0]))[1])  # type: ignore[arg-type]
    results: dict[str, list[np.ndarray]] = {}
    threads = [
        threading.Thread(target=lambda text=text: results.update({text: desk.run(text, speak(expected[text][0]))[1]}))
        for text in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.keys() == expected.keys()
    for text, rows in results.items():
        compare(text, rows)


async def test_replies_in_a_batch_are_those_alone(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=12, temperature=0, idle_cells=1024)
    alone = [(await ask(model, text)).text for text in QUESTIONS]
    together = await asyncio.gather(*(ask(model, text, f"tenant{n % 3}") for n, text in enumerate(QUESTIONS)))
    again = await asyncio.gather(*(ask(model, text, f"tenant{n % 3}") for n, text in enumerate(QUESTIONS)))
    for said in (together, again):  # two tokens may be nearer to one another than batches of other shapes round
        assert sum(message.text == text for message, text in zip(said, alone, strict=True)) >= len(alone) - 2
    assert all(counts(message)[1] > 10 for message in again)


async def test_drafts_change_no_reply_and_are_taken_where_they_are_right(make: Make, table_model: MakeTable) -> None:
    follows = {"\n": "a", "a": "b", "b": "c", "c": "d", "d": "e", "e": "a"}
    plain, drafting = make(table_model(follows), speculation=0), make(table_model(follows), speculation=16)
    for temperature in (0.0, 1.0):
        told = {"max_tokens": 60, "temperature": temperature, "seed": 3}
        one, two = await ask(plain, "abcde" * 5, **told), await ask(drafting, "abcde" * 5, **told)
        assert one.text == two.text
        assert one.response_metadata["drafted_tokens"] == 0
        assert two.response_metadata["accepted_draft_tokens"] <= two.response_metadata["drafted_tokens"]
    assert one.usage_metadata["output_tokens"] == two.usage_metadata["output_tokens"] == 60


# Tenants


@pytest.mark.parametrize(
    "memory",
    [
        {"cells": 1200, "spill": 0},
        {"rooms": 9, "parallel": 4, "spill": 0},
        {"rooms": 6, "parallel": 4, "spill": 16},  # of which its share is less than it uses
        {"rooms": 6, "parallel": 4, "spill": 1, "spill_disk": 16},
        {"cells": 1200, "spill": 1, "spill_disk": 16},
    ],
)
async def test_what_one_tenant_sends_changes_no_counter_of_another(
    make: Make, random_model: Path, tmp_path: Path, memory: dict[str, int]
) -> None:
    """A neighbour who guesses the quiet tenant's prompts, whole and in part, and one who floods, change nothing."""

    async def quiet(model: BaseChatModel, noise: Callable[[int], Any]) -> list[tuple[int, int]]:
        seen = []
        for number in range(8):
            noisy = [asyncio.ensure_future(one) for one in noise(number)]
            seen.append(counts(await ask(model, f"My secret is {number % 3} of many", "quiet", max_tokens=4)))
            await asyncio.gather(*noisy)
        return seen

    def silence(_model: BaseChatModel) -> Callable[[int], Any]:
        return lambda _number: []

    def guess(model: BaseChatModel) -> Callable[[int], Any]:
        return lambda number: [ask(model, f"My secret is {n} of many", "noisy", max_tokens=2) for n in (number, 0)]

    def flood(model: BaseChatModel) -> Callable[[int], Any]:
        return lambda number: [ask(model, f"{number} {n} " + "word " * 60, "noisy", max_tokens=2) for n in range(12)]

    seen = []
    for noise in (silence, guess, flood):
        model = make(random_model, **memory, context=512, spill_folder=str(tmp_path))
        seen.append(await quiet(model, noise(model)))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0][1] == 0
    assert all(cached > 20 for _, cached in seen[0][1:])


async def test_an_adapter_acts_for_its_tenant_only_also_in_the_same_moment(
    make: Make, random_model: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "acme.gguf", 64)
    plain = make(random_model, max_tokens=8, temperature=0)
    model = make(random_model, max_tokens=8, temperature=0, adapters={"acme": {"path": str(adapter), "scale": 4}})
    tenants = ["acme", "lark", "acme", None, "lark", "acme"]
    expected = (await ask(plain, "Hi")).text
    said = await asyncio.gather(*(ask(model, "Hi", tenant) for tenant in tenants))
    for tenant, message in zip(tenants, said, strict=True):
        assert (message.text == expected) is (tenant != "acme")
    again = await ask(model, "Hi", "acme")
    assert again.text != expected
    assert counts(again)[1] > 10


async def test_an_adapter_that_is_none_is_named(make: Make, random_model: Path, tmp_path: Path) -> None:
    missing = make(random_model, adapters={"acme": {"path": str(tmp_path / "no.gguf")}})
    other = make(random_model, adapters={"acme": {"path": str(random_model)}})
    for model in (missing, other):
        with pytest.raises(ModelError) as caught:
            await ask(model, "Hi", "acme")
        assert ".gguf" in str(caught.value) and caught.value.remedy
        assert (await ask(model, "Hi", "lark", max_tokens=1)).usage_metadata["output_tokens"] == 1


def write_adapter(path: Path, width: int) -> Path:
    chance = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name in ("attn_q", "attn_v", "ffn_down"):
        for block in range(2):
            for half, shape in (("a", (4, width)), ("b", (width, 4))):
                tensor = chance.normal(0, 0.5, shape).astype(np.float32)
                writer.add_tensor(f"blk.{block}.{name}.weight.lora_{half}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("spill", [0, 16])
@pytest.mark.parametrize("memory", [{"cells": 700}, {"rooms": 3, "parallel": 2}])
async def test_what_finds_no_room_is_copied_back_from_ordinary_memory(
    make: Make, random_model: Path, memory: dict[str, int], spill: int
) -> None:
    model = make(random_model, **memory, context=512, max_tokens=8, temperature=0, spill=spill)
    texts = {f"tenant{n}": f"Number {n}: " + "word " * 40 for n in range(12)}
    first = {tenant: await ask(model, text, tenant) for tenant, text in texts.items()}
    second = {tenant: await ask(model, text, tenant) for tenant, text in texts.items()}
    assert sum(first[tenant].text == said.text for tenant, said in second.items()) >= 10
    reused = [counts(said)[1] for said in second.values()]
    assert all(count > 100 for count in reused) if spill else all(count < 100 for count in reused[:-4])


async def test_what_lies_in_ordinary_memory_but_for_a_few_tokens_is_not_copied_again(
    make: Make, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_STAYS", 0.0)
    saved = saves(monkeypatch)
    model: Any = make(random_model, max_tokens=4, idle_cells=0)
    text = "word " * 40
    for ending, copies in (("", 1), ("", 1), (" and", 1), (" and" * 40, 2)):
        said = await ask(model, text + ending, "acme")
        await model.forget("nobody")  # it waits until the reply has left
        assert len(saved) == copies
    assert counts(said)[1] > 100


def saves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sequences that were copied to ordinary memory."""
    saved: list[int] = []
    save = Context.save
    monkeypatch.setattr(Context, "save", lambda context, number: saved.append(number) or save(context, number))
    return saved


async def test_what_a_reply_leaves_stays_for_the_next_step_and_moves_when_nothing_comes(
    make: Make, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_STAYS", 600.0)
    saved = saves(monkeypatch)
    model: Any = make(random_model, max_tokens=4, idle_cells=0)
    text = "word " * 40
    await ask(model, text, "acme")
    assert counts(await ask(model, text + " and more", "acme"))[1] > 100
    await model.forget("nobody")
    assert not saved
    monkeypatch.setattr(memory, "_STAYS", 0.05)
    await ask(model, text + " and again", "acme")
    end = time.monotonic() + 30
    while not saved:  # nobody asks for anything
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert counts(await ask(model, text + " once more", "acme"))[1] > 100


async def test_replies_of_one_tenant_compute_a_common_beginning_once(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    said = await asyncio.gather(*(ask(model, "word " * 80 + str(n), "acme") for n in range(6)))
    assert sorted(counts(message)[1] > 200 for message in said) == [False, True, True, True, True, True]


# Fairness


async def test_a_newcomer_of_another_tenant_is_not_kept_waiting_by_a_flood(make: Make, random_model: Path) -> None:
    model = make(random_model, parallel=4, max_tokens=30)
    await model.start()  # type: ignore[attr-defined]
    done: list[str] = []

    async def one(tenant: str, n: int) -> None:
        await ask(model, f"{n} " + "word " * 50, tenant)
        done.append(tenant)

    noisy = [asyncio.create_task(one("noisy", n)) for n in range(40)]
    await asyncio.sleep(0.05)
    await one("quiet", 0)
    assert done.count("noisy") < 12
    await asyncio.gather(*noisy)
    assert done.count("noisy") == 40


async def test_a_full_queue_refuses_with_the_time_to_try_again(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), parallel=1, queue=2, context=2048)
    running = [asyncio.create_task(ask(model, "Hi", "acme", max_tokens=1500)) for _ in range(9)]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    refused = [task.exception() for task in done]
    assert all(isinstance(error, OverloadedError) and error.retry_after >= 1 for error in refused)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert 6 <= len(refused) < 9


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_model_tells_how_much_runs_and_waits(make: Make, table_model: MakeTable, isolation: str) -> None:
    model: Any = make(table_model({"\n": "a", "a": "a"}), parallel=1, context=2048, isolation=isolation, threads=1)
    assert model.workload() == Workload(0, 0)
    first = model.astream([HumanMessage("Hi")], max_tokens=1500, cache_scope="acme")
    assert (await anext(first)).text.startswith("a")
    others = [asyncio.create_task(ask(model, "Hi", "acme", max_tokens=1500)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert model.workload() == Workload(1, 3)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await first.aclose()
    for _ in range(100):
        if model.workload() == Workload(0, 0):
            break
        await asyncio.sleep(0.02)
    assert model.workload() == Workload(0, 0)


# Limits


async def test_a_reply_that_takes_too_long_is_ended_wherever_it_is(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), parallel=1, seconds=0.4, context=2048)
    await model.start()  # type: ignore[attr-defined]
    began = time.monotonic()
    told = await asyncio.gather(
        *(ask(model, "Hi", "acme", max_tokens=1_000_000) for _ in range(4)), return_exceptions=True
    )
    late = [one for one in told if isinstance(one, ModelError) and "longer than 0.4 seconds" in str(one)]
    assert late or all(isinstance(one, AIMessage) for one in told)  # where the machine is very fast
    assert time.monotonic() - began < 20
    assert (await ask(model, "Hi", "acme", max_tokens=3)).text == "aaa"


async def test_a_caller_who_stops_reading_is_let_go(make: Make, table_model: MakeTable) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), idle_seconds=0.05, context=2048)
    stream = model.astream([HumanMessage("Hi")], max_tokens=1_000_000)
    await anext(stream)
    time.sleep(0.5)  # noqa: ASYNC251 - the loop hangs, as that of a bad host would
    with pytest.raises(ModelError, match=r"nobody read the reply for 0\.05 seconds"):
        async for _ in stream:
            time.sleep(0)  # noqa: ASYNC251


async def test_a_reply_that_can_never_fit_is_refused_and_says_why(make: Make, random_model: Path) -> None:
    model = make(random_model, context=256, cells=128, choice="score")
    many = tuple(f"A long sentence with the number {n} in it." for n in range(300))
    with pytest.raises(ModelError, match=r"more than the memory has(.|\n)*`cells`"):
        await ask(model, "Hi", choices=Choices(many))
    assert (await ask(model, "Hi", max_tokens=2)).usage_metadata["output_tokens"] == 2


# Trouble


@pytest.mark.parametrize("memory", [{"cells": 1500}, {"rooms": 9}])
async def test_nothing_is_lost_or_mixed_under_cancels_and_errors(
    make: Make, random_model: Path, caplog: pytest.LogCaptureFixture, memory: dict[str, int]
) -> None:
    model = make(random_model, **memory, context=512, temperature=0, parallel=6)
    chance = random.Random(5)
    expected = {text: (await ask(model, text, max_tokens=10)).text for text in QUESTIONS}
    equal: list[bool] = []

    async def one(n: int) -> None:
        text, tenant = QUESTIONS[n % len(QUESTIONS)], f"tenant{n % 4}"
        way = chance.random()
        if way < 0.25:
            task = asyncio.ensure_future(ask(model, text, tenant, max_tokens=200))
            await asyncio.sleep(chance.random() / 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif way < 0.35:
            with pytest.raises(ModelError, match="context"):
                await ask(model, "word " * 600, tenant)
        elif way < 0.5:
            marker = f"Only number {n}. [1]"
            said = await ask(model, text, tenant, choices=Choices((marker, f"Never {n}"), quotes=1))
            assert said.text in (marker, f"Never {n}")
        else:
            equal.append((await ask(model, text, tenant, max_tokens=10)).text == expected[text])

    for _ in range(3):
        await asyncio.gather(*(one(chance.randrange(1000)) for _ in range(25)))
    assert len(equal) > 10 and sum(equal) >= 0.8 * len(equal)  # but for what is nearer than batches round
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("memory", [{"cells": 900, "idle_cells": 400}, {"rooms": 6, "parallel": 4}])
def test_the_memory_holds_what_the_account_says(random_model: Path, memory: dict[str, int]) -> None:
    """After much coming and going, each sequence is as long in the library's memory as in ours."""
    from sartor_plugins.llama.native import lib

    told = {"path": str(random_model), "probe": False, "context": 256, "spill": 4, "temperature": 0}
    settings = LlamaSettings.model_validate(told | memory)
    runtimes: list[Runtime] = []

    def make_one() -> Runtime:
        runtimes.append(load(settings, Path("/")))
        return runtimes[-1]

    engine: Engine[Request, object] = Engine(make_one, "test", Limits(parallel=4, draft=7))
    chance = random.Random(2)
    pending = []
    from sartor_plugins.llama.prompt import Line

    for n in range(60):
        outbox: SyncOutbox[object] = SyncOutbox()
        tenant = f"t{chance.randrange(5)}"
        lines = (Line("user", QUESTIONS[chance.randrange(6)] + " word" * chance.randrange(20)),)
        request = Request(lines, max_tokens=chance.randrange(1, 30), scope=tenant if n % 7 else "")
        job: Job[Request, object] = Job(request, outbox, tenant=tenant)
        engine.submit(job)
        pending.append((job, outbox))
        if n % 5 == 0:
            engine.cancel(job)
    for job, outbox in pending:
        while not job.cancelled and outbox.take():
            pass

    def look(runtime: Any) -> None:
        prefixes = runtime.memory._prefixes
        context = runtime.context
        lengths = {kept.number: len(kept.tokens) for kept in prefixes._kept.values()}
        held = lib.llama_get_memory(context._context)
        for number in range(context.sizes.sequences):
            assert lib.llama_memory_seq_pos_max(held, number) == lengths.get(number, 0) - 1
        assert not runtime.memory._seats
        assert 0 < runtime.memory.cells <= context.sizes.cells

    engine._begin().call(look)
    engine.forget("t1")
    engine._begin().call(lambda runtime: _none_of("t1", runtime))
    engine.close()


def _none_of(tenant: str, runtime: Any) -> None:
    assert not list(runtime.memory._prefixes.of(tenant))


def test_a_mistake_in_a_reply_ends_that_reply_only(desk: Desk) -> None:
    def wrong(track: Track) -> Generator[Need, None, None]:
        yield from track.logits()
        raise ZeroDivisionError("a mistake")

    def right(track: Track) -> Generator[Need, None, str]:
        yield from track.logits()
        return "done"

    with pytest.raises(ModelError, match="ZeroDivisionError: a mistake"):
        desk.run("Hi", wrong)
    assert desk.run("Hi", right)[1] == "done"


def test_a_mistake_of_the_engine_is_told_to_all_and_the_next_are_served(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def right(track: Track) -> Generator[Need, None, str]:
        yield from track.logits()
        return "done"

    assert desk.run("Hi", right)[1] == "done"
    with monkeypatch.context() as patch:
        patch.setattr(desk.batcher, "shares", None)
        with pytest.raises(ModelError, match="AttributeError"):
            desk.run("Hi", right)
    assert "the engine desk failed" in caplog.text
    assert desk.run("Hi", right)[1] == "done"


async def test_a_first_token_and_an_end_are_told_at_once_and_the_rest_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_TELLING", (1000.0, 1000.0))
    heard = threading.Event()

    def speak(track: Track) -> Generator[object, None, str]:
        for number in range(20):
            yield from track.logits()
            if number == 1:
                assert heard.wait(30)
            track.push([5])
            yield number
        return "done"

    outbox: AsyncOutbox[object] = AsyncOutbox()
    job = Job(desk.Task(desk.vocabulary.text("Hi"), speak, Scope("acme")), outbox, tenant="acme")
    desk.engine.submit(job)
    assert list(await outbox.take()) == [0]
    heard.set()
    assert [event for event in await outbox.take() if isinstance(event, int)] == [*range(1, 20)]
    assert not await outbox.take()


async def test_an_outbox_whose_loop_is_gone_disturbs_nobody() -> None:
    def elsewhere() -> AsyncOutbox[int]:
        async def inside() -> AsyncOutbox[int]:
            outbox: AsyncOutbox[int] = AsyncOutbox()
            task = asyncio.ensure_future(outbox.take())
            await asyncio.sleep(0)
            task.cancel()
            return outbox

        return asyncio.run(inside())

    outbox = await asyncio.to_thread(elsewhere)
    outbox.put([1], True)
