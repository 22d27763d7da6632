"""An answer within a time: as `asyncio.timeout` has it, whether or not the answer waits for anything."""

from __future__ import annotations

import asyncio
import time

import pytest
from sartor.timely import within


async def at_once(value):
    return value


async def after(seconds, value):
    await asyncio.sleep(seconds)
    await asyncio.sleep(0)
    return value


async def raising(error, *, late):
    if late:
        await asyncio.sleep(0)
    raise error


async def test_answers_come_through():
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    assert [await within(1, answer) for answer in (at_once(1), after(0.001, 2), future)] == [1, 2, "future"]


@pytest.mark.parametrize("late", [False, True])
async def test_errors_come_through(late):
    with pytest.raises(KeyError, match="x"):
        await within(1, raising(KeyError("x"), late=late))


async def test_what_is_no_awaitable_is_an_error():
    with pytest.raises(TypeError, match="await"):
        await within(1, "text")


async def test_a_late_answer_is_stopped_and_may_clean_up():
    told = []

    async def late():
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            told.append("cleaned up")

    with pytest.raises(TimeoutError):
        await within(0.01, late())
    assert told == ["cleaned up"]


async def test_time_before_the_first_wait_counts():
    async def slow_to_begin():
        time.sleep(0.02)  # noqa: ASYNC251
        await asyncio.sleep(30)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(0.01, slow_to_begin())
    assert time.monotonic() - began < 10


async def test_a_timer_within_stops_only_its_own():
    async def has_a_timer():
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(30)
        except TimeoutError:
            return "went on"

    assert await within(10, has_a_timer()) == "went on"


async def test_cancelling_the_caller_cancels_the_answer():
    told = []

    async def waiting():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    task = asyncio.create_task(within(60, waiting()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled"]
