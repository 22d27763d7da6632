"""What a person says in a conversation that is talked in the terminal, shown as it comes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from sartor.values import Outcome, Reply

if TYPE_CHECKING:
    from sartor.store import TenantStore

__all__ = ["Listening"]

_SECONDS = 1.0
_MOST = 100
_WITH_PERSON = (Outcome.HANDED_OVER, Outcome.SILENT)


class Listening:
    """The ear for one talk; it asks the state database only while a person has the conversation."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self._mine: set[str] = set()
        self._conversation = ""
        self._after = 0

    def follow(self, reply: Reply | None) -> None:
        """Listen on after a turn of the talk itself; None: in no conversation."""
        self._conversation = ""
        if reply is not None:
            self._mine.add(reply.turn.id)
            self._conversation = reply.turn.conversation if reply.outcome in _WITH_PERSON else ""
        else:
            self._after = 0

    async def show(self) -> bool:
        """Print what was said since; whether there was something. When the bot has the conversation again, stop."""
        if not self._conversation:
            return False
        turns = await self._store.turns(self._conversation, _MOST, self._after)
        self._after = turns[-1].number if turns else self._after
        news = [one.reply for one in turns if one.reply.turn.id not in self._mine and not one.reply.turn.text]
        for reply in news:
            _print(reply)
        if news and not news[-1].author:
            self._conversation = ""
        return bool(news)

    async def read(self, prompt: str) -> str | None:
        """The next line from the terminal, while news are printed as they come; None at its end."""
        click.echo(prompt, nl=False)
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ready.set)
        try:
            while not ready.is_set():
                try:
                    async with asyncio.timeout(_SECONDS):
                        await ready.wait()
                except TimeoutError:
                    if await self.show():
                        click.echo(prompt, nl=False)
        finally:
            loop.remove_reader(sys.stdin.fileno())
        return sys.stdin.readline() or None

    @property
    def waits(self) -> bool:
        """Whether a person has the conversation, as far as is known."""
        return bool(self._conversation)


def _print(reply: Reply) -> None:
    from rich.text import Text

    from sartor.cli.render import console, visible

    style = "bold magenta" if reply.author else "bold cyan"
    console.print(
        Text.assemble("\r", (visible(reply.author or "bot"), style), "  ", visible(reply.text)), soft_wrap=True
    )
