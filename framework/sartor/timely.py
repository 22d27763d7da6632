"""Waiting for an answer within a time, which costs next to nothing where the answer is there at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from types import CoroutineType
from typing import Generic, TypeVar

__all__ = ["within"]

T = TypeVar("T")


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """Await `answer`. Raises `TimeoutError` where it takes longer than `seconds`.

    As `asyncio.timeout`, which takes longer than most answers and is therefore used only for one that must wait.
    """
    until = asyncio.get_running_loop().time() + seconds
    if isinstance(answer, CoroutineType):
        try:
            waits_for = answer.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        answer = _Rest(answer, waits_for)
    async with asyncio.timeout_at(until):
        return await answer


class _Rest(Generic[T]):
    """What is left of a coroutine that has begun and waits for something."""

    def __init__(self, coroutine: Coroutine[object, object, T], waits_for: object) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[object, object, T]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    got = yield waits_for
                except GeneratorExit:
                    self._coroutine.close()
                    raise
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(got)
        except StopIteration as done:
            value: T = done.value
            return value
