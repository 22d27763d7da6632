"""What is kept of prompts on a disk: encrypted, gone with its tenant and with the process, and never in the way."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError
from sartor.errors import ModelError
from sartor_plugins.llama import LlamaPlugin
from sartor_plugins.llama.engine import cellar as cellar_module
from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.cellar import Cellar, Jar
from sartor_plugins.llama.engine.context import Part
from sartor_plugins.llama.engine.memory import SPARE, Memory
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.saved import Saved
from sartor_plugins.llama.runtime import Runtime

Make = Callable[..., Any]

CHANCE = np.random.default_rng(3)


@pytest.fixture
def cellar(tmp_path: Path) -> Iterator[Cellar]:
    made = Cellar(tmp_path / "spill", 1 << 30)
    yield made
    made.close()


def data(size: int) -> Saved:
    return CHANCE.integers(0, 256, size, np.uint8)


def put(cellar: Cellar, tenant: str, told: Saved) -> Jar:
    jar = cellar.put(tenant, told)
    assert jar is not None
    return jar


class Bell(threading.Event):
    """Stands for a file: rings where that is removed."""

    def unlink(self, *, missing_ok: bool) -> None:
        self.set()


def written(cellar: Cellar) -> None:
    """Wait until the writer has done everything that it was told until now."""
    bell: Any = Bell()
    cellar._orders.put(Jar(0, "nobody", 0, bell, None, gone=True, waits=False))
    assert bell.wait(30)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kv"))


# The cellar itself


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_500_000])
def test_what_was_stored_comes_back(cellar: Cellar, size: int) -> None:
    told = data(size)
    jar = put(cellar, "acme", told)
    np.testing.assert_array_equal(cellar.take(jar), told)  # whether it is written yet or not
    written(cellar)
    assert jar.data is None
    np.testing.assert_array_equal(cellar.take(jar), told)
    assert jar.path.stat().st_size == size + 16 * -(-size // (1 << 20))


def test_nothing_of_it_can_be_read_on_the_disk(cellar: Cellar, tmp_path: Path) -> None:
    told = np.frombuffer(b"The code word is pineapple. " * 1000, np.uint8)
    one, two = put(cellar, "acme", told), put(cellar, "acme", told)
    written(cellar)
    assert b"pineapple" not in one.path.read_bytes()
    assert one.path.read_bytes() != two.path.read_bytes()
    assert not any("acme" in str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert one.path.stat().st_mode & 0o077 == 0
    assert one.path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["bit", "cut", "longer", "swapped", "other", "missing"])
def test_what_was_changed_is_lost_and_nothing_else(cellar: Cellar, change: str) -> None:
    told = data(2 << 20)
    jar, other = put(cellar, "acme", told), put(cellar, "acme", data(2 << 20))
    written(cellar)
    raw = bytearray(jar.path.read_bytes())
    half = len(raw) // 2
    match change:
        case "bit":
            raw[half + 5] ^= 1
        case "cut":
            raw = raw[:-1]
        case "longer":
            raw = raw[:half] + b"x" + raw[half:]
        case "swapped":
            raw = raw[half:] + raw[:half]
        case "other":
            raw = bytearray(other.path.read_bytes())
    if change == "missing":
        jar.path.unlink()
    else:
        jar.path.write_bytes(raw)
    assert cellar.take(jar) is None
    assert cellar.take(other) is not None


def test_to_forget_a_tenant_is_to_forget_its_key_and_its_files(tmp_path: Path) -> None:
    cellar = Cellar(tmp_path, 1 << 30)
    attic = Attic(1000, cellar)
    for tenant in ("acme", "lark"):
        for number in range(4):
            attic.put(Stored(Scope(tenant), [number], data(400)))
    written(cellar)
    key = cellar._keys["acme"]
    assert len(files(tmp_path)) == 6
    attic.forget("acme")
    written(cellar)
    assert len(files(tmp_path)) == 3
    assert cellar._keys.keys() == {"lark"}
    assert attic.best(Scope("acme"), [0]) == (None, 0)
    attic.put(Stored(Scope("acme"), [9], data(900)))
    attic.put(Stored(Scope("acme"), [10], data(900)))
    assert cellar._keys["acme"] is not key
    attic.close()
    assert not list(tmp_path.rglob("*.kv"))


def test_what_was_dropped_before_it_was_written_is_never_there(
    cellar: Cellar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Cellar._write

    def slow(*told: Any) -> None:
        write(*told)
        time.sleep(0.05)

    monkeypatch.setattr(Cellar, "_write", slow)
    jars = [put(cellar, "acme", data(1000)) for _ in range(5)]
    for jar in jars:
        cellar.drop(jar)
    cellar.forget("acme")
    written(cellar)
    assert not files(tmp_path)
    assert [cellar.take(jar) for jar in jars] == [None] * 5


def test_a_slow_disk_takes_no_more_than_may_wait(cellar: Cellar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cellar_module, "_MOST_PENDING", 1000)
    monkeypatch.setattr(Cellar, "_write", lambda *told: time.sleep(0.2))
    assert cellar.put("acme", data(5000)) is not None  # nothing waits: it is taken, however large
    assert cellar.put("acme", data(10)) is None
    written(cellar)
    assert cellar.put("acme", data(200)) is not None
    assert cellar.put("acme", data(100)) is None  # a quarter is for one tenant
    assert cellar.put("lark", data(700)) is not None
    assert cellar.put("wren", data(200)) is None


def test_a_full_disk_costs_what_does_not_fit_and_is_told(
    cellar: Cellar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_cellar: Cellar, jar: Jar, _data: Saved, _key: Any) -> None:
        jar.path.write_bytes(b"half of i")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = put(cellar, "acme", data(10))
    written(cellar)
    with monkeypatch.context() as patch:
        patch.setattr(Cellar, "_write", full)
        lost = put(cellar, "acme", data(10))
        written(cellar)
    assert cellar.take(lost) is None
    assert cellar.take(kept) is not None
    assert len(files(tmp_path)) == 1
    assert "No space left" in caplog.text
    assert cellar.put("acme", data(10)) is None  # for a minute, it is left alone
    monkeypatch.setattr(cellar_module, "_PAUSE", 0)
    assert cellar.put("acme", data(10)) is not None


def test_what_could_not_be_written_is_not_counted_and_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cellar = Cellar(tmp_path, 1 << 20)
    attic = Attic(1000, cellar)

    def full(*_told: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Cellar, "_write", full)
        attic.put(Stored(Scope("acme"), [1, 2, 3], data(900)))
        attic.put(Stored(Scope("acme"), [1, 2, 4], data(900)))
        written(cellar)
    assert attic.best(Scope("acme"), [1, 2, 3])[1] == 2
    assert attic._below.size == 0
    assert not attic.takes(Scope("acme"), [99], 500)  # it would be lost
    assert attic.takes(Scope("acme"), [99], 100)
    attic.close()


def test_nothing_is_held_of_what_was_written_and_forgotten(tmp_path: Path) -> None:
    cellar = Cellar(tmp_path, 1 << 20)
    attic = Attic(1000, cellar)
    told = data(900)
    alive = weakref.ref(told)
    attic.put(Stored(Scope("acme"), [1], told))
    attic.put(Stored(Scope("acme"), [2], data(900)))
    del told
    written(cellar)
    assert alive() is None
    attic.forget("acme")
    assert not cellar._keys
    attic.close()


def test_what_is_larger_than_ordinary_memory_goes_to_the_disk_at_once(tmp_path: Path) -> None:
    attic = Attic(100, Cellar(tmp_path, 1000))
    attic.put(Stored(Scope("acme"), [1], data(90)))
    assert attic.takes(Scope("acme"), [99], 300)
    attic.put(Stored(Scope("acme"), [2], data(300)))
    assert attic.size == 90
    assert attic.best(Scope("acme"), [2])[1] == 1
    assert not attic.takes(Scope("acme"), [99], 701)
    assert attic.takes(Scope("acme"), [99], 700)
    attic.put(Stored(Scope("acme"), [3], data(1001)))
    assert attic.best(Scope("acme"), [3])[1] == 0
    attic.close()


def test_what_neither_memory_nor_a_busy_disk_takes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attic = Attic(100, Cellar(tmp_path, 1000))
    monkeypatch.setattr(Cellar, "put", lambda *_told: None)
    attic.put(Stored(Scope("acme"), [1], data(300)))
    assert attic.best(Scope("acme"), [1]) == (None, 0)
    assert attic.size == attic._below.size == 0
    attic.close()


def test_what_is_larger_than_the_disk_does_not_drive_out_what_fits(tmp_path: Path) -> None:
    attic = Attic(1000, Cellar(tmp_path, 500))
    for number in range(4):
        attic.put(Stored(Scope("acme"), [number], data(100)))
    attic.put(Stored(Scope("acme"), [8], data(950)))
    attic.put(Stored(Scope("acme"), [9], data(900)))
    assert [attic.best(Scope("acme"), [number])[1] for number in (0, 1, 2, 3, 8, 9)] == [1, 1, 1, 1, 0, 1]
    attic.close()


def test_what_a_busy_disk_does_not_take_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attic = Attic(100, Cellar(tmp_path, 1000))
    attic.put(Stored(Scope("acme"), [1], data(90)))
    monkeypatch.setattr(Cellar, "put", lambda *_told: None)
    attic.put(Stored(Scope("acme"), [1, 2], data(300)))
    assert attic.best(Scope("acme"), [1, 2])[1] == 1
    assert attic.size == 90
    attic.close()


def test_a_lagging_disk_is_asked_for_whoever_goes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cellar_module, "_MOST_PENDING", 400)
    cellar = Cellar(tmp_path, 1000)
    attic = Attic(100, cellar)
    assert not attic.busy
    attic.put(Stored(Scope("lark"), [1], data(90)))
    cellar._pending = {"lark": 50}
    assert attic.busy
    assert not attic.takes(Scope("acme"), [99], 60), "lark's would be lost"
    cellar._pending = {"acme": 50}
    assert attic.takes(Scope("acme"), [99], 60)
    cellar._pending = {"wren": 350}
    assert not attic.takes(Scope("acme"), [99], 60)
    cellar._pending = {}
    assert attic.takes(Scope("acme"), [99], 60)
    attic.close()


SEQUENCES = st.tuples(st.sampled_from("abc"), st.integers(1, 150), st.booleans())


@given(st.integers(0, 300), st.lists(SEQUENCES, max_size=12), SEQUENCES)
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_for_what_is_taken(
    limit: int, before: list[tuple[str, int, bool]], last: tuple[str, int, bool]
) -> None:
    """Each is a sequence of a tenant, of so many bytes, that goes on from the one before of the tenant, or does not."""
    with tempfile.TemporaryDirectory() as folder:
        attic = Attic(200, Cellar(Path(folder), limit))
        latest: dict[str, list[int]] = {}
        there: dict[tuple[str, tuple[int, ...]], None] = {}
        for number, (tenant, size, goes_on) in enumerate([*before, last]):
            tokens = [*(latest.get(tenant, []) if goes_on else []), number]
            latest[tenant] = tokens
            takes = attic.takes(Scope(tenant), tokens, size)
            plenty = attic.size + attic._below.size + size <= limit
            attic.put(Stored(Scope(tenant), tokens, data(size)))
            for who, some in [*there]:
                if who == tenant and list(some) == tokens[: len(some)]:
                    del there[who, some]
            there[tenant, tuple(tokens)] = None
            kept = [each for each in there if attic.best(Scope(each[0]), [*each[1]])[1] == len(each[1])]
            assert not takes or len(kept) == len(there)
            assert takes or not plenty
            there = dict.fromkeys(kept)
        attic.close()


def test_what_is_too_much_for_the_disk_at_once_goes_down_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cellar_module, "_MOST_PENDING", 400)
    cellar = Cellar(tmp_path, 10000)
    attic = Attic(1000, cellar)
    for number in range(10):
        attic.put(Stored(Scope("acme"), [number], data(100)))
    tries = 0
    while not attic.takes(Scope("acme"), [99], 150):
        assert attic.busy, "it is worth another try"
        written(cellar)
        tries += 1
    assert tries == 1
    attic.put(Stored(Scope("acme"), [99], data(150)))
    written(cellar)
    assert all(attic.best(Scope("acme"), [number])[1] for number in (*range(10), 99))
    attic.close()


def test_of_one_scope_only_the_last_thousand_are_kept() -> None:
    attic = Attic(1 << 20)
    for number in range(1100):
        attic.put(Stored(Scope("acme"), [number], data(1)))
    assert attic.size == 1000
    assert [attic.best(Scope("acme"), [number])[1] for number in (99, 100, 1099)] == [0, 1, 1]


# Folders


def test_the_next_process_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys, time, numpy, pathlib\n"
        "from sartor_plugins.llama.engine.cellar import Cellar\n"
        "cellar = Cellar(pathlib.Path(sys.argv[1]), 1 << 30)\n"
        "cellar.put('acme', numpy.zeros(1000, numpy.uint8))\n"
        "while cellar._pending: time.sleep(0.01)\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None and killed.stdout.readline() == "ready\n"
    living = Cellar(tmp_path, 1 << 30)
    theirs = put(living, "lark", data(100))
    written(living)
    assert len(files(tmp_path)) == 2
    killed.kill()
    killed.wait()
    killed.stdout.close()
    (tmp_path / "process-of-mine").mkdir()
    (tmp_path / "process-of-mine" / "notes.txt").write_text("not yours")
    (tmp_path / "process-file").write_text("odd")
    third = Cellar(tmp_path, 1 << 30)
    assert files(tmp_path) == [theirs.path]
    assert (tmp_path / "process-of-mine" / "notes.txt").read_text() == "not yours"
    for one in (living, third):
        one.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "process-file", "process-of-mine"]


async def test_a_folder_that_cannot_be_used_is_named(make: Make, random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = make(random_model, spill_disk=10, spill_folder=str(tmp_path / "file" / "spill"))
    with pytest.raises(ModelError, match="cannot be used") as caught:
        await model.ainvoke([HumanMessage("Hi")])
    assert "spill_folder" in (caught.value.remedy or "") and str(tmp_path) in (caught.value.where or "")


def test_a_disk_without_memory_above_it_is_refused() -> None:
    with pytest.raises(ValidationError, match="set `spill` above 0"):
        LlamaPlugin.Settings.model_validate({"spill": 0, "spill_disk": 10})


# Both floors


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 2), max_size=5), st.integers(1, 60), st.booleans()),
        max_size=40,
    )
)
def test_both_stay_within_their_limits_and_what_is_found_is_what_was_put(
    tmp_path: Path, steps: list[tuple[str, list[int], int, bool]]
) -> None:
    cellar = Cellar(tmp_path, 150)
    attic = Attic(100, cellar)
    put: dict[tuple[str, tuple[int, ...]], Saved] = {}
    for tenant, tokens, size, gone in steps:
        if gone:
            attic.forget(tenant)
            assert attic.best(Scope(tenant), [0, 1, 2]) == (None, 0)
            continue
        put[tenant, tuple(tokens)] = told = data(size)
        attic.put(Stored(Scope(tenant), tokens, told))
        assert attic.size <= 100 and attic._below.size <= 150
        found, _ = attic.best(Scope(tenant), tokens)
        if found is not None:
            np.testing.assert_array_equal(attic.take(found), put[tenant, tuple(found.tokens)])
    stored = [one for several in attic._stored.values() for one in several]
    assert attic.size == sum(one.size for one in stored if one.jar is None)
    assert attic._below.size == sum(one.size for one in stored if one.jar is not None)
    written(cellar)
    assert len(files(tmp_path)) == sum(one.jar is not None for one in stored)
    attic.close()
    assert not files(tmp_path)


def test_who_floods_the_disk_loses_its_own(tmp_path: Path) -> None:
    attic = Attic(100, Cellar(tmp_path, 300))
    attic.put(Stored(Scope("lark"), [1, 2, 3], data(90)))
    for number in range(50):
        attic.put(Stored(Scope("acme"), [number], data(90)))
    assert attic.best(Scope("lark"), [1, 2, 3])[1] == 3
    assert attic.best(Scope("acme"), [49])[1] == attic.best(Scope("acme"), [48])[1] == 1
    assert attic.best(Scope("acme"), [0])[1] == 0
    attic.close()


# The model


def cached(message: AIMessage) -> int:
    assert message.usage_metadata is not None
    return message.usage_metadata["input_token_details"]["cache_read"]


@pytest.mark.parametrize("memory", [{}, {"rooms": 0}, {"isolation": "process"}])
async def test_a_conversation_comes_back_from_the_disk_and_changes_no_reply(
    make: Make, random_model: Path, tmp_path: Path, memory: dict[str, Any]
) -> None:
    told = {"max_tokens": 6, "temperature": 0, "parallel": 2, **({} if memory else {"rooms": 3}), "context": 512}
    fresh = make(random_model, **told, **memory, spill=0)
    model = make(random_model, **told, **memory, spill=1, spill_disk=64, spill_folder=str(tmp_path))
    asked = [[HumanMessage(f"{number} " + "word " * 60)] for number in range(12)]
    for number, messages in enumerate(asked):  # 300 tokens are 0.3 MB
        await model.ainvoke(messages, cache_scope=f"tenant{number}")
    end = time.monotonic() + 30
    while not files(tmp_path):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    for number in (0, 1, 2):
        messages = [HumanMessage(f"{number} " + "word " * 60 + "and more")]
        again = await model.ainvoke(messages, cache_scope=f"tenant{number}")
        assert cached(again) > 150
        assert again.text == (await fresh.ainvoke(messages)).text
    await model.forget("tenant3")
    assert cached(await model.ainvoke(asked[3], cache_scope="tenant3")) == 0
    await model.close()
    assert not files(tmp_path)


async def spilled(make: Make, path: Path, folder: Path) -> tuple[Any, list[list[HumanMessage]], list[AIMessage]]:
    """A model that was asked by twelve tenants, the first of which lie on the disk; what they asked and were told."""
    model = make(
        path,
        max_tokens=6,
        temperature=0,
        parallel=2,
        rooms=3,
        context=512,
        spill=1,
        spill_disk=64,
        spill_folder=str(folder),
    )
    asked = [[HumanMessage(f"{number} " + "word " * 60)] for number in range(12)]
    said = [await model.ainvoke(messages, cache_scope=f"tenant{number}") for number, messages in enumerate(asked)]
    end = time.monotonic() + 30
    while len(files(folder)) < 3:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    return model, asked, said


async def test_what_is_lost_on_the_disk_is_computed(make: Make, random_model: Path, tmp_path: Path) -> None:
    model, asked, said = await spilled(make, random_model, tmp_path)
    for file in files(tmp_path):
        file.write_bytes(b"spoilt")
    again = [await model.ainvoke(messages, cache_scope=f"tenant{number}") for number, messages in enumerate(asked)]
    assert [one.text for one in again] == [one.text for one in said]
    assert 0 in [cached(one) for one in again]


class Held(threading.Event):
    """Nothing is read of the disk until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[str] = []
        """The threads that read."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    gate, read = Held(), Cellar._read

    def slow(*told: Any) -> Saved | None:
        gate.readers.append(threading.current_thread().name)
        assert gate.wait(30)
        return read(*told)

    monkeypatch.setattr(Cellar, "_read", slow)
    yield gate
    gate.set()


def test_what_is_to_be_taken_is_read_ahead_one_at_a_time(
    cellar: Cellar, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [data(1000) for _ in range(3)]
    jars = [put(cellar, "acme", one) for one in told]
    assert cellar.fetch(jars[0]) or jars[0].data is None  # at hand until it is written
    written(cellar)
    assert [cellar.fetch(jar) for jar in jars] == [False] * 3
    held.set()
    np.testing.assert_array_equal(cellar.take(jars[0]), told[0])
    assert not cellar.fetch(jars[1])
    end = time.monotonic() + 30
    while not cellar.fetch(jars[1]):
        assert time.monotonic() < end
    assert not cellar.fetch(jars[2])  # the other one is not taken yet
    monkeypatch.setattr(cellar_module, "_HELD", 0)
    time.sleep(0.01)
    assert not cellar.fetch(jars[2])
    assert not cellar.fetch(jars[1])
    np.testing.assert_array_equal(cellar.take(jars[2]), told[2])
    np.testing.assert_array_equal(cellar.take(jars[1]), told[1])
    assert cellar._ahead is None


def test_what_is_given_up_while_it_is_read_is_not_held(cellar: Cellar, held: Held) -> None:
    jar = put(cellar, "acme", data(1000))
    written(cellar)
    assert not cellar.fetch(jar)
    ahead = cellar._ahead
    assert ahead is not None
    cellar.drop(jar)
    cellar.forget("acme")
    held.set()
    assert ahead.done.wait(30) and ahead.data is None
    assert cellar._ahead is None
    assert cellar.fetch(jar) and cellar.take(jar) is None


def test_what_nobody_waits_for_any_more_is_not_held(cellar: Cellar, held: Held) -> None:
    told = data(1000)
    jar = put(cellar, "acme", told)
    written(cellar)
    assert not cellar.fetch(jar)
    ahead = cellar._ahead
    assert ahead is not None
    cellar.rest()
    held.set()
    assert ahead.done.wait(30) and ahead.data is None
    np.testing.assert_array_equal(cellar.take(jar), told)


def test_what_is_taken_before_it_is_read_ahead_is_waited_for(cellar: Cellar, held: Held) -> None:
    told = data(1000)
    jar = put(cellar, "acme", told)
    written(cellar)
    assert not cellar.fetch(jar)
    threading.Timer(0.05, held.set).start()
    np.testing.assert_array_equal(cellar.take(jar), told)
    assert held.readers == ["llama-cellar-reader"]


async def test_replies_go_on_while_something_is_read_back(
    make: Make, random_model: Path, tmp_path: Path, held: Held
) -> None:
    model, asked, said = await spilled(make, random_model, tmp_path)
    wanted = {"cache_scope": "busy", "max_tokens": 400, "grammar": 'root ::= "a"{2000}'}
    stream = model.astream([HumanMessage("On and on.")], **wanted)
    await anext(stream)
    back = asyncio.ensure_future(model.ainvoke(asked[0], cache_scope="tenant0"))
    end = time.monotonic() + 30
    while not held.readers:
        assert time.monotonic() < end
        await asyncio.sleep(0.001)
    rest = [chunk async for chunk in stream]
    assert rest[-1].usage_metadata["output_tokens"] == 400
    assert not back.done()
    held.set()
    reply = await back
    assert held.readers == ["llama-cellar-reader"]
    assert reply.text == said[0].text
    assert cached(reply) > 0
    await model.close()


def test_a_room_that_a_busy_disk_did_not_take_is_tried_again(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(runtime.context, Attic(1000, Cellar(tmp_path, 1 << 24)), keeps=True, idle=0)
    for number in range(runtime.context.sizes.sequences - SPARE):
        seat = memory.take(Scope("acme"), tokens := [100 + number, *range(5, 44)], 10)
        assert seat is not None
        runtime.context.compute([Part((seat.number,), 0, tokens)])
        memory.leave(seat, tokens)
    memory._tidy_at = 0.0
    with monkeypatch.context() as patch:
        patch.setattr(Cellar, "takes", lambda *_told: False)
        memory.tidy()
        assert memory.untidy_at == math.inf, "it is not busy: it has no room"
        patch.setattr(Cellar, "busy", True)
        memory.tidy()
        assert 0 < memory.untidy_at - time.monotonic() <= 1
    before = len(memory._prefixes)
    memory.tidy()
    assert len(memory._prefixes) == before - 1
    memory.close()


def test_what_is_read_back_is_not_given_up_for_what_leaves_for_it(runtime: Runtime, tmp_path: Path) -> None:
    """Of three sequences of which each floor holds one, the one that is wanted stays."""
    context = runtime.context
    texts = {tenant: [number, *range(5, 44)] for number, tenant in enumerate(("acme", "lark", "wren"))}
    saved: dict[str, Saved] = {}
    for tenant, tokens in texts.items():
        context.compute([Part((0,), 0, tokens)])
        told = context.save(0)
        assert told is not None
        saved[tenant] = told
        context.drop(0)
    size = len(saved["acme"])
    attic = Attic(size * 3 // 2, Cellar(tmp_path, size * 3 // 2))
    memory = Memory(context, attic, keeps=True, idle=0)
    for number in range(context.sizes.sequences - SPARE):
        seat = memory.take(Scope("wren"), tokens := [100 + number, *texts["wren"]], 10)
        assert seat is not None
        context.compute([Part((seat.number,), 0, tokens)])
        memory.leave(seat, tokens)
    for tenant in ("acme", "lark"):
        attic.put(Stored(Scope(tenant), texts[tenant], saved[tenant]))
    found, _ = attic.best(Scope("acme"), texts["acme"])
    assert found is not None and found.jar is not None
    seat = memory.take(Scope("acme"), [*texts["acme"], 1, 2], 10)
    assert seat is not None and seat.cached == 40
    assert attic.best(Scope("lark"), texts["lark"]) == (None, 0)
    memory.close()


def test_what_was_given_up_is_not_taken_and_nothing_breaks(tmp_path: Path) -> None:
    attic = Attic(100, Cellar(tmp_path, 100))
    for number in range(2):
        attic.put(Stored(Scope("acme"), [number], data(90)))
    found, _ = attic.best(Scope("acme"), [0])
    assert found is not None and found.jar is not None
    attic.remove(found)
    assert attic.take(found) is None
    assert attic.best(Scope("acme"), [1])[1] == 1
    attic.close()
