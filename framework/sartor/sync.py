"""The same project for code without an event loop: scripts, notebooks, threaded web applications.

::

    with sartor.open_sync("project") as bots:
        print(bots["acme/support"].reply("Where is my order?").text)

One event loop runs in a thread of its own; calls from any number of threads are handed to it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sartor.values import Event, Reply

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots

__all__ = ["SyncBot", "SyncBots", "open_sync"]

T = TypeVar("T")


@contextmanager
def open_sync(path: str | Path = ".", *, reload: bool = False) -> Iterator[SyncBots]:
    """Open the project in the folder `path`; see `sartor.open` for `reload`, and what may be raised."""
    from sartor.bots import open_project

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sartor", daemon=True)
    thread.start()
    opening: AbstractAsyncContextManager[Bots] = open_project(path, reload=reload)
    try:
        bots = SyncBots(loop, _run(loop, opening.__aenter__()))
        try:
            yield bots
        finally:
            _run(loop, opening.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class SyncBots:
    """The bots of an open project by id."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bots: Bots) -> None:
        self._loop = loop
        self._bots = bots

    def __getitem__(self, bot_id: str) -> SyncBot:
        async def get() -> Bot:
            return self._bots[bot_id]

        return SyncBot(self._loop, _run(self._loop, get()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._bots)

    def ingest(self, bot_id: str) -> None:
        """Read the bot's knowledge folder; see `sartor.knowledge.Knowledge.ingest`."""
        _run(self._loop, self._bots.knowledge(bot_id).ingest())


class SyncBot:
    """One bot; see `sartor.bot.Bot` for the arguments and what may be raised. `approve` is async here, too."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bot: Bot) -> None:
        self._loop = loop
        self._bot = bot

    def reply(self, text: str, *, user: str = "anonymous", conversation: str = "", **options: str) -> Reply:
        """Answer `text`, and return when the turn is committed."""
        return _run(self._loop, self._bot.reply(text, user=user, conversation=conversation, **options))  # type: ignore[arg-type]

    def stream(self, text: str, *, user: str = "anonymous", conversation: str = "", **options: str) -> Iterator[Event]:
        """Answer `text` piece by piece. Closing the iterator stops the turn."""
        events = self._bot.stream(text, user=user, conversation=conversation, **options)  # type: ignore[arg-type]
        try:
            while True:
                try:
                    yield _run(self._loop, _next(events))
                except StopAsyncIteration:
                    return
        finally:
            _run(self._loop, events.aclose())


async def _next(events: AsyncIterator[T]) -> T:
    return await anext(events)


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
