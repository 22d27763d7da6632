"""A room of the memory for each conversation: neighbours are computed together, and nobody notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError
from sartor.errors import ModelError
from sartor.values import Choices
from sartor_plugins.llama import machine
from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.context import Context, Part
from sartor_plugins.llama.engine.memory import SPARE, Memory
from sartor_plugins.llama.engine.prefixes import Prefixes, Scope
from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.engine.weights import Weights
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.scoring import likelihoods
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.trie import Candidate, build

if TYPE_CHECKING:
    from conftest import Desk

Make = Callable[..., Any]

TOLERANCE = 0.05
"""As in `test_llama_engine`: batches of different shapes round differently."""


def prompt(seed: int, length: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, 256, length)]


def length(context: Context, number: int) -> int:
    from sartor_plugins.llama.native import lib

    return int(lib.llama_memory_seq_pos_max(lib.llama_get_memory(context._context), number)) + 1


def alone(context: Context, tokens: list[int]) -> np.ndarray:
    """The logits behind `tokens`, computed in the last room."""
    number = context.sizes.sequences - 1
    (rows,) = context.compute([Part((number,), 0, tokens)])
    told = rows[0].copy()
    context.drop(number)
    return told


# The context


@pytest.mark.parametrize(
    ("numbers", "between"),
    [
        ([4], []),
        ([4, 5, 6], []),
        ([6, 4], [5]),
        ([9, 2, 5], [3, 4, 6, 7, 8]),
        ([2, 7], [3, 4, 5, 6]),
        ([2, 8], []),
        ([2, 3, 20, 22], [21]),
    ],
)
def test_small_gaps_between_rooms_are_filled(runtime: Runtime, numbers: list[int], between: list[int]) -> None:
    assert runtime.context.sizes.apart
    assert runtime.context.between(numbers) == between


@pytest.mark.parametrize("padding", [0, 3, 7])
@pytest.mark.parametrize("counts", [[1, 1, 1], [9, 1, 4], [40, 36, 34], [3, 40, 1]])
def test_each_row_is_that_of_its_part_in_any_order_and_neighbours_stay_as_they_are(
    runtime: Runtime, counts: list[int], padding: int
) -> None:
    context, rooms = runtime.context, [7, 2, 4]
    texts = [prompt(room, 20 + count) for room, count in zip(rooms, counts, strict=True)]
    expected = [alone(context, text) for text in texts]
    for room, text in zip(rooms, texts, strict=True):
        context.compute([Part((room,), 0, text[:20])])
    context.compute([Part((3,), 0, prompt(3, 15))])  # one that rests between them
    parts = [Part((room,), 20, text[20:]) for room, text in zip(rooms, texts, strict=True)]
    for rows, wanted in zip(context.compute(parts, padding), expected, strict=True):
        assert np.abs(rows[0] - wanted).max() < TOLERANCE
    held = {room: length(context, room) for room in range(context.sizes.sequences)}
    assert {room: size for room, size in held.items() if size} == {
        3: 15,
        **{room: 20 + count for room, count in zip(rooms, counts, strict=True)},
    }


def test_padding_at_the_end_of_all_rooms_goes_before_them(runtime: Runtime) -> None:
    context = runtime.context
    last = context.sizes.sequences - 1
    text = prompt(1, 10)
    expected = alone(context, text)
    (rows,) = context.compute([Part((last,), 0, text)], 3)
    assert np.abs(rows[0] - expected).max() < TOLERANCE
    assert [length(context, room) for room in range(last - 4, last + 1)] == [0, 0, 0, 0, 10]


def test_a_copy_is_one(runtime: Runtime) -> None:
    context, text = runtime.context, prompt(5, 30)
    expected = alone(context, [*text[:20], 7])
    context.compute([Part((0,), 0, text)])
    assert context.copy(0, [3, 9], 20)
    context.drop(0)
    for room in (3, 9):
        assert length(context, room) == 20
        (rows,) = context.compute([Part((room,), 20, [7])])
        assert np.abs(rows[0] - expected).max() < TOLERANCE


# Forks


def scores(desk: Desk, texts: list[str]) -> tuple[dict[int, list[float]], int]:
    """The likelihoods of `texts`, and the token that then seems likeliest behind one more."""

    def speak(track: Track) -> Generator[Need, None, tuple[dict[int, list[float]], int]]:
        root = build(
            Candidate(number, text, tuple(desk.vocabulary.text(text)), 1.0) for number, text in enumerate(texts)
        )
        found = yield from likelihoods(track, root)
        track.push([desk.vocabulary.text("x")[0]])
        return found, int((yield from track.logits()).argmax())

    _, told, _ = desk.run("<|user|>\nWhich one?<|end|>\n<|assistant|>\n", speak)
    return told  # type: ignore[return-value]


def test_forks_tell_the_same_in_rooms_and_in_a_memory_that_all_share(
    desk: Desk, random_model: Path, request: pytest.FixtureRequest
) -> None:
    """More texts than there are rooms to spare, of very different lengths, one of them longer than a batch's part."""
    texts = [f"The {name} is {number}." for number, name in enumerate(["cat", "dog", "the other one"] * 7)]
    texts += ["The", "The cat", "a long " * 60, "a long " * 60 + "end"]
    other = load(
        LlamaSettings(path=str(random_model), probe=False, rooms=0 if desk.context.sizes.apart else None), Path("/")
    )
    theirs = type(desk)(other)
    try:
        (ours, after), (wanted, after_theirs) = scores(desk, texts), scores(theirs, texts)
    finally:
        theirs.engine.close()
    assert desk.context.sizes.apart is not other.context.sizes.apart
    assert ours.keys() == wanted.keys() == set(range(len(texts)))
    for number, told in ours.items():
        np.testing.assert_allclose(told, wanted[number], atol=TOLERANCE)
    assert after == after_theirs


# The memory


def sizes(model: Any) -> dict[int, int]:
    """How many tokens lie in each room that has some."""
    found: dict[int, int] = {}

    def look(runtime: Runtime) -> None:
        rooms = range(runtime.context.sizes.sequences)
        found.update({room: size for room in rooms if (size := length(runtime.context, room))})

    model._engine._begin().call(look)
    return found


async def talk(model: Any, tenant: str, texts: list[str]) -> list[AIMessage]:
    messages, said = [], []
    for text in texts:
        messages.append(HumanMessage(text))
        said.append(await model.ainvoke(messages, cache_scope=tenant))
        messages.append(said[-1])
    return said


def counts(message: AIMessage) -> tuple[int, int]:
    assert message.usage_metadata is not None
    return message.usage_metadata["input_tokens"], message.usage_metadata["input_token_details"]["cache_read"]


async def test_a_conversation_goes_on_in_its_room_and_nothing_is_copied(
    make: Make, table_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    for name in ("save", "load", "copy"):
        plain = getattr(Context, name)
        monkeypatch.setattr(Context, name, lambda *given, name=name, plain=plain: moved.append(name) or plain(*given))
    model = make(table_model({"\n": "a", "a": "b", "b": "<|end|>"}))
    first, *later = await talk(model, "acme", ["one two three", "four", "five"])
    assert counts(first)[1] == 0
    for before, message in zip([first, *later], later, strict=False):
        assert counts(message)[1] >= counts(before)[0]
    await model.forget("nobody")
    assert not moved


@pytest.mark.parametrize(("words", "both"), [(40, True), (2, False)])
async def test_what_is_common_to_two_conversations_is_copied_and_both_stay_but_for_little_ends(
    make: Make, random_model: Path, words: int, both: bool
) -> None:
    model = make(random_model, max_tokens=4, temperature=0)
    texts = ["word " * 40 + end * words for end in ("one ", "two ", "three ")]
    for text in texts:
        await model.ainvoke([HumanMessage(text)], cache_scope="acme")
    assert len(sizes(model)) == (3 if both else 1)
    told = [counts(await model.ainvoke([HumanMessage(text)], cache_scope="acme")) for text in texts]
    assert all(cached > 120 for _, cached in told)
    assert all(cached == prompt - 1 for prompt, cached in told) is both  # the last one's logits are wanted


async def test_rooms_are_cleared_for_newcomers_while_nobody_waits(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2, parallel=2, rooms=5, context=512)
    for number in range(5):
        await model.ainvoke([HumanMessage(f"{number} " + "word " * 40)], cache_scope=f"tenant{number}")
    end = time.monotonic() + 30
    while len(sizes(model)) > 3:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    said = await model.ainvoke([HumanMessage("0 " + "word " * 40)], cache_scope="tenant0")
    assert counts(said)[1] > 120


async def test_replies_that_run_lie_side_by_side(
    make: Make, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is kept between them, and whoever comes and goes."""
    spans: list[tuple[int, int]] = []
    compute = Context.compute

    def look(context: Context, parts: list[Part], padding: int = 0) -> Any:
        numbers = [part.sequences[0] for part in parts]
        if max(numbers) < context.sizes.sequences - SPARE:
            spans.append((max(numbers) - min(numbers) + 1, len(parts)))
        return compute(context, parts, padding)

    monkeypatch.setattr(Context, "compute", look)
    model = make(random_model, max_tokens=10, temperature=0, parallel=4, rooms=20, context=512)
    for number in range(20):  # each leaves something
        await model.ainvoke([HumanMessage(f"{number} " + "word " * 30)], cache_scope=f"tenant{number}")
    asked = [model.ainvoke([HumanMessage(f"{n} " + "word " * 30)], cache_scope=f"tenant{n}") for n in range(0, 20, 3)]
    told = await asyncio.gather(*asked)
    assert all(counts(message)[1] > 100 for message in told)
    assert max(together for _, together in spans) > 3
    assert all(span <= 4 * together + 4 for span, together in spans)


async def test_a_crowd_of_one_tenant_leaves_rooms_for_the_others(make: Make, table_model: Callable[..., Path]) -> None:
    model = make(table_model({"\n": "a", "a": "a"}), parallel=4, rooms=6, context=512, speculation=0)
    crowd = [
        asyncio.create_task(model.ainvoke([HumanMessage("Hi")], cache_scope="noisy", max_tokens=400)) for _ in range(9)
    ]
    await asyncio.sleep(0.05)
    await model.ainvoke([HumanMessage("Hi")], cache_scope="quiet", max_tokens=4)
    assert not any(task.done() for task in crowd[1:])
    await asyncio.gather(*crowd)


async def test_what_does_not_fit_into_a_room_is_refused(make: Make, random_model: Path) -> None:
    model = make(random_model, context=128, choice="score")
    with pytest.raises(ModelError, match=r"more than the 256 that the memory has for one(.|\n)*`context`"):
        await model.ainvoke([HumanMessage("Hi")], choices=Choices(("short", "word " * 400)))
    assert (await model.ainvoke([HumanMessage("Hi")], max_tokens=2)).usage_metadata["output_tokens"] == 2


def test_a_room_near_to_those_that_run_is_taken_and_of_whom_is_above_its_share(runtime: Runtime) -> None:
    memory = Memory(runtime.context, Attic(0), keeps=True, idle=0)
    count = runtime.context.sizes.sequences - SPARE
    kept = []
    for number in range(count):
        seat = memory.take(Scope("noisy" if number % 2 else "quiet"), prompt(number, 40), 10)
        assert seat is not None and seat.number == number
        kept.append(seat)
    for seat in kept:
        memory.leave(seat, seat.prompt)
    one = memory.take(Scope("quiet"), prompt(1000, 40), 10)  # of 13, with this one, quiet may have 12
    assert one is not None and one.number == 0
    other = memory.take(Scope("new"), prompt(1001, 40), 10)
    assert other is not None and other.number == 1
    assert memory.take(Scope("quiet"), prompt(1002, 5000), 10) is None


def test_what_is_copied_back_may_leave_the_attic_at_the_same_moment(runtime: Runtime) -> None:
    """Its own room is cleared of something that takes the last place in the attic."""
    context = runtime.context
    context.compute([Part((0,), 0, prompt(0, 40))])
    saved = context.save(0)
    assert saved is not None
    context.drop(0)
    attic = Attic(len(saved) * 3 // 2)
    memory = Memory(context, attic, keeps=True, idle=0)
    old = prompt(0, 40)
    attic.put(Stored(Scope("acme"), old, saved))
    for number in range(context.sizes.sequences - SPARE):
        seat = memory.take(Scope("lark"), tokens := prompt(number + 1, 40), 10)
        assert seat is not None
        context.compute([Part((seat.number,), 0, tokens)])
        memory.leave(seat, tokens)
    seat = memory.take(Scope("acme"), [*old, 1, 2], 10)
    assert seat is not None
    assert (seat.cached, length(context, seat.number)) == (40, 40)
    assert attic.best(Scope("lark"), prompt(1, 40))[1] == 40
    assert attic.best(Scope("acme"), old) == (None, 0)


def keep(memory: Memory, tenant: str, tokens: list[int]) -> int:
    """Let a reply of `tenant` read `tokens` and end; its room."""
    seat = memory.take(Scope(tenant), tokens, 10)
    assert seat is not None
    memory._context.compute([Part((seat.number,), seat.cached, tokens[seat.cached :])])
    memory.leave(seat, tokens)
    return seat.number


def test_what_the_attic_has_no_place_for_stays_in_its_room(runtime: Runtime) -> None:
    memory = Memory(runtime.context, Attic(1000), keeps=True, idle=0)
    quiet = prompt(0, 400)
    assert keep(memory, "quiet", quiet) == 0
    for number in range(1, runtime.context.sizes.sequences - SPARE):
        keep(memory, "noisy", prompt(number, 40))
    memory._tidy_at = 0.0
    memory.tidy()
    for number in range(100, 110):
        keep(memory, "noisy", prompt(number, 40))
    seat = memory.take(Scope("quiet"), [*quiet, 1], 10)
    assert seat is not None and seat.cached == 400


@pytest.mark.parametrize("words", [16, 31, 40])
def test_little_that_moved_to_the_attic_comes_back_like_much(runtime: Runtime, words: int) -> None:
    memory = Memory(runtime.context, Attic(1 << 24), keeps=True, idle=0)
    text = prompt(0, words)
    kept = memory._prefixes.kept(keep(memory, "acme", text))
    memory._evict(kept)
    seat = memory.take(Scope("acme"), [*text, 1], 10)
    assert seat is not None and seat.cached == words


def test_where_there_is_no_other_room_the_one_that_is_gone_on_from_is_taken(random_model: Path) -> None:
    runtime = runtime_of(random_model, rooms=2, parallel=1, spill=16)
    memory, common = runtime.memory, prompt(0, 100)
    keep(memory, "acme", [*common, *prompt(1, 200)])
    other = memory.take(Scope("lark"), prompt(2, 50), 10)
    seat = memory.take(Scope("acme"), [*common, *prompt(3, 50)], 10)
    assert other is not None and seat is not None
    assert (seat.cached, length(runtime.context, seat.number)) == (100, 100)
    memory.leave(seat, seat.prompt[:100])
    again = memory.take(Scope("acme"), [*common, *prompt(1, 200), 1], 10)
    assert again is not None and again.cached == 300  # it went to the attic
    runtime.close()


def test_models_with_a_sliding_window_share_and_only_whole_sequences_come_back(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what lies further back than the window the library copies nothing."""
    monkeypatch.setattr(Weights, "window", 64)
    runtime = runtime_of(random_model, idle_cells=0)
    assert not runtime.context.sizes.apart
    memory, text = runtime.memory, prompt(0, 300)
    for wanted, cached in (([*text, 1], 300), ([*text[:200], 1], 0)):
        kept = memory._prefixes.kept(keep(memory, "acme", text))
        memory._evict(kept)
        seat = memory.take(Scope("acme"), wanted, 10)
        assert seat is not None and seat.cached == cached
        memory.leave(seat, ())
    runtime.close()


def test_shares_are_counted_in_rooms() -> None:
    prefixes = Prefixes(4, rooms=True)
    for number, (tenant, size) in enumerate([("a", 1000), ("b", 10), ("b", 10), ("b", 10)]):
        prefixes.hold(number, Scope(tenant), prompt(number, size), running=False)
    assert prefixes.taken == 4
    victim = prefixes.victim("c", 1)
    assert victim is not None and victim.number == 1
    assert prefixes.victim("a", 1, among={0}) is not None
    assert prefixes.victim("b", 1, among={0}) is None
    prefixes.drop(1)
    assert prefixes.taken == 3


# How many


def runtime_of(path: Path, **settings: Any) -> Runtime:
    return load(LlamaSettings(path=str(path), probe=False, **settings), Path("/"))


@pytest.mark.parametrize(
    ("settings", "rooms"),
    [
        ({}, 24),
        ({"parallel": 3}, 4),
        ({"rooms": 30}, 30),
        ({"rooms": 0}, 0),
        ({"cells": 4096}, 0),
        ({"idle_cells": 9}, 0),
    ],
)
def test_rooms_by_default_and_by_the_settings(random_model: Path, settings: dict[str, int], rooms: int) -> None:
    made = runtime_of(random_model, **settings)
    try:
        found = made.context.sizes
        assert found.apart is bool(rooms)
        if rooms:
            assert found.sequences == rooms + SPARE
            assert found.room >= made.voice.size + 64
    finally:
        made.close()


def test_where_memory_is_short_all_share(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2304 * 2 * 2 * 2 * 64  # a room: keys and values of two layers, 16-bit, 64 wide
    for number, apart in ((SPARE + 24, True), (SPARE + 23, False)):
        monkeypatch.setattr(machine, "available_bytes", lambda number=number: 4 * number * each)
        made = runtime_of(random_model)
        assert made.context.sizes.apart is apart
        assert made.context.sizes.sequences == (number if apart else 255)
        made.close()


def test_too_few_rooms_are_refused_with_a_remedy() -> None:
    with pytest.raises(ValidationError, match=r"`rooms` is 16, and must be at least 24(.|\n)*`rooms` to 0"):
        LlamaSettings(rooms=16)
    assert LlamaSettings(rooms=2, parallel=1).rooms == 2
