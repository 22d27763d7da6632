"""Each candidate in a process of its own, so that none slows another down.

Two contexts of llama.cpp in one process do: GNU's OpenMP keeps the threads of each, and where all of them together are
more than the processors it lets them sleep at each barrier, though those of one context are idle. (Measured: 190
tokens/s alone, 140 beside an idle one.)
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from benchmarks.engine.work import Ask, Candidate, Told

__all__ = ["Apart"]

_Sent = tuple[int, list[Told] | str]


class Apart:
    """A candidate elsewhere: what is asked of it and what it told goes through a pipe, outside of what is timed."""

    def __init__(self, name: str, make: Callable[[], Candidate]) -> None:
        """`make` is called in the process, which must be able to import it."""
        self.name = name
        self._make = make
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[list[Told]]] = {}

    async def start(self) -> None:
        """Start the process, and the candidate in it."""
        spawn = multiprocessing.get_context("spawn")
        self._pipe, there = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(self._make, there), daemon=False)
        self._process.start()
        there.close()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._receive)
        self._waiting[0] = asyncio.get_running_loop().create_future()
        await self._waiting[0]

    async def ask(self, ask: Ask) -> Told:
        """Answer one request."""
        return (await self.answer([ask]))[0]

    async def answer(self, asks: Sequence[Ask]) -> list[Told]:
        """Answer requests that come at once."""
        number = next(self._numbers)
        told: asyncio.Future[list[Told]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = told
        self._pipe.send((number, list(asks)))
        return await told

    async def close(self) -> None:
        """End the process."""
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._pipe.send(None)
        await asyncio.to_thread(self._process.join)

    def _receive(self) -> None:
        try:
            number, told = self._pipe.recv()
        except (EOFError, ConnectionError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            for future in self._waiting.values():
                future.set_exception(RuntimeError(f"{self.name}: its process ended"))
            return
        future = self._waiting.pop(number)
        if isinstance(told, str):
            future.set_exception(RuntimeError(f"{self.name}: {told}"))
        else:
            future.set_result(told)


def _serve(make: Callable[[], Candidate], pipe: Connection) -> None:
    asyncio.run(_answer_all(make, pipe))


async def _answer_all(make: Callable[[], Candidate], pipe: Connection) -> None:
    candidate = make()
    ended = asyncio.Event()
    running: set[asyncio.Task[None]] = set()

    async def answer(number: int, asks: Sequence[Ask]) -> None:
        sent: _Sent
        try:
            sent = number, await candidate.answer(asks)
        except Exception as error:
            sent = number, f"{type(error).__name__}: {error}"
        pipe.send(sent)

    def receive() -> None:
        try:
            told = pipe.recv()
        except EOFError:  # whoever asked is gone
            told = None
        if told is None:
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            ended.set()
        else:
            task = asyncio.create_task(answer(*told))
            running.add(task)
            task.add_done_callback(running.discard)

    try:
        await candidate.start()
    except Exception as error:
        pipe.send((0, f"{type(error).__name__}: {error}"))
        return
    pipe.send((0, []))
    asyncio.get_running_loop().add_reader(pipe.fileno(), receive)
    await ended.wait()
    await candidate.close()
