"""A bot: the door through which messages come in, and where replies leave it. The way between is `sartor.turn`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from sartor.errors import SartorError, UsageError
from sartor.judge import Approver
from sartor.policy import Policy
from sartor.spec import BotSpec
from sartor.tools import Tool
from sartor.turn import BotParts, TurnPath
from sartor.values import BotInfo, Event, Finished, Reply, Turn

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

__all__ = ["Bot"]


class Bot:
    """One tenant's bot. Any number of turns may run at once."""

    def __init__(self, parts: BotParts) -> None:
        self._parts = parts
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def info(self) -> BotInfo:
        return self._parts.info

    @property
    def spec(self) -> BotSpec:
        return self._parts.spec

    @property
    def tools(self) -> Sequence[Tool]:
        return tuple(self._parts.tools.values())

    @property
    def policies(self) -> Sequence[Policy]:
        return tuple(self._parts.policies)

    async def reply(
        self,
        text: str,
        *,
        user: str = "anonymous",
        conversation: str = "",
        audience: str = "",
        language: str = "",
        approve: Approver | None = None,
    ) -> Reply:
        """Answer `text`, and return when the turn is committed. See `stream`."""
        stream = self.stream(
            text, user=user, conversation=conversation, audience=audience, language=language, approve=approve
        )
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.reply
        raise AssertionError("a stream ends with Finished or raises")

    async def stream(
        self,
        text: str,
        *,
        user: str = "anonymous",
        conversation: str = "",
        audience: str = "",
        language: str = "",
        approve: Approver | None = None,
    ) -> AsyncGenerator[Event]:
        """Answer `text` piece by piece: `Delta`, `ToolStarted`, `ToolFinished`, and at last `Finished`.

        `user` is the host application's id of who speaks; `conversation` continues an earlier one of the same
        user (`Reply.turn.conversation` tells it); `audience` and `language` are ones that the bot knows.
        `approve` is asked when a tool call needs a person. Closing the iterator stops the turn.

        Raises `UsageError` for what cannot be a turn, `StoreError` when it cannot be committed, and `OverloadedError`
        when the model has too much to do: then nothing was done or stored, and the message can be sent again. A
        refusal, a model that fails and a deadline are outcomes of the reply, not exceptions.
        """
        turn = self._begin(text, user, conversation, audience, language)
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        path = TurnPath(self._parts, turn, approve, events.put_nowait)
        task = asyncio.create_task(path.run(), name=f"turn {turn.id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, SartorError):
                    await task

    def as_runnable(self) -> Runnable[object, AIMessage]:
        """This bot as a LangChain `Runnable`."""
        from sartor.runnable import BotRunnable

        return BotRunnable(self.reply, self.info.id)

    async def close(self) -> None:
        """Stop the turns that run; each is committed with what had been released. No more are taken."""
        self._closed = True
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, text: str, user: str, conversation: str, audience: str, language: str) -> Turn:
        spec, info = self._parts.spec, self._parts.info
        if self._closed:
            raise UsageError(f"{info.id} is closed", remedy="Ask the open project for the bot again.")
        text = text.replace("\0", "")
        if not text.strip():
            raise UsageError("the message is empty")
        if len(text) > spec.limits.question_characters:
            raise UsageError(
                f"the message has {len(text)} characters; {info.id} takes {spec.limits.question_characters}",
                remedy="Shorten it, or raise limits.question_characters in bot.yaml.",
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError("the message is no Unicode text: it has half of a surrogate pair") from error
        if audience and audience not in spec.audiences:
            raise UsageError(f"{info.id} knows no audience {audience!r}", remedy=_known(spec.audiences))
        if language and language not in spec.languages:
            raise UsageError(f"{info.id} does not speak {language!r}", remedy=_known(spec.languages))
        return Turn(
            id=self._parts.new_id(),
            conversation=conversation or self._parts.new_id(),
            tenant=info.tenant,
            bot=info.bot,
            user=user,
            text=text,
            audience=audience,
            language=language or spec.languages[0],
            started=self._parts.now(),
        )


def _known(names: Mapping[str, object] | Sequence[str]) -> str:
    return f"It knows: {', '.join(names) or 'none'}."
