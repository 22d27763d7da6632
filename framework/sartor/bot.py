"""A bot: the door through which messages come in, and where replies leave it. The way between is `sartor.turn`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sartor.channels import Channel
from sartor.errors import SartorError, UsageError
from sartor.handover.alerts import Alerts
from sartor.judge import Approver
from sartor.parts import BotParts
from sartor.plugin import Plugin
from sartor.policy import Policy
from sartor.spec import BotSpec
from sartor.tools import Tool
from sartor.turn import TurnPath
from sartor.values import BotInfo, Event, Finished, JSONValue, Reply, Turn, TurnOptions

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

__all__ = ["Bot", "close_plugin"]

log = logging.getLogger(__name__)


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

    @property
    def plugins(self) -> Sequence[Plugin]:
        return tuple(self._parts.plugins)

    @property
    def channels(self) -> Sequence[Channel]:
        return tuple(self._parts.channels)

    @property
    def alerts(self) -> Alerts | None:
        """How people are told of hand-overs; None where they are not."""
        return self._parts.alerts

    async def reply(
        self,
        text: str,
        *,
        user: str = "anonymous",
        conversation: str = "",
        audience: str = "",
        language: str = "",
        attributes: Mapping[str, JSONValue] | None = None,
        approve: Approver | None = None,
        options: TurnOptions | None = None,
    ) -> Reply:
        """Answer `text`, and return when the turn is committed. See `stream`."""
        stream = self.stream(
            text,
            user=user,
            conversation=conversation,
            audience=audience,
            language=language,
            attributes=attributes,
            approve=approve,
            options=options,
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
        attributes: Mapping[str, JSONValue] | None = None,
        approve: Approver | None = None,
        options: TurnOptions | None = None,
    ) -> AsyncGenerator[Event]:
        """Answer `text` piece by piece: `Started`, `Delta`, `ToolStarted`, `ToolFinished`, and at last `Finished`.

        `user` is the host application's id of who speaks; `conversation` continues an earlier one of the same
        user (`Reply.turn.conversation` tells it); `audience` and `language` are ones that the bot knows.
        `attributes` is what the host application says of the user, for tools and policies. `approve` is asked when
        a tool call needs a person. `options` is what a program brings beside the message. Closing the iterator
        stops the turn.

        Raises `UsageError` for what cannot be a turn, `StoreError` when it cannot be committed, and `OverloadedError`
        when the model has too much to do: then nothing was done or stored, and the message can be sent again. A
        refusal, a model that fails and a deadline are outcomes of the reply, not exceptions.
        """
        options = options or TurnOptions()
        turn = self._begin(text, user, conversation, audience, language, options)
        turn = replace(turn, attributes=dict(attributes or {}))
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        path = TurnPath(self._parts, turn, options, approve, events.put_nowait)
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
        """Stop the turns that run; each is committed with what had been released. No more are taken. Channels
        and plugins are closed."""
        self._closed = True
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._parts.alerts is not None:
            await self._parts.alerts.close()
        for channel in self._parts.channels:
            try:
                await channel.close()
            except Exception:
                log.exception("channel %s of %s cannot be closed", channel.name, self.info.id)
        for plugin in self._parts.plugins:
            await close_plugin(plugin, self.info.id)

    def _begin(
        self, text: str, user: str, conversation: str, audience: str, language: str, options: TurnOptions
    ) -> Turn:
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
        self._check(options)
        return Turn(
            id=options.id or self._parts.new_id(),
            conversation=conversation or self._parts.new_id(),
            tenant=info.tenant,
            bot=info.bot,
            user=user,
            text=text,
            audience=audience,
            language=language or spec.languages[0],
            started=self._parts.now(),
        )

    def _check(self, options: TurnOptions) -> None:
        info, names = self._parts.info, [tool.name for tool in options.tools]
        if options.model.get("response_format") and self._parts.spec.grounding.mode == "quote":
            raise UsageError(
                f"{info.id} quotes its documents, so its replies cannot be given a format",
                remedy="Leave response_format out, or ask a bot with `grounding: free`.",
            )
        form = options.model.get("response_format")
        if form and (check := getattr(self._parts.model, "check_format", None)):
            check(form)
        if clash := sorted({name for name in names if name in self._parts.tools or names.count(name) > 1}):
            raise UsageError(f"a tool {clash[0]!r} is there already", remedy="Give it another name.")
        known = {*names, *self._parts.tools, "auto", "none", "required"}
        if options.tool_choice not in known:
            raise UsageError(f"tool_choice names {options.tool_choice!r}, and there is no such tool")


async def close_plugin(plugin: Plugin, bot_id: str) -> None:
    """Close a plugin of a bot. One that raises is logged."""
    try:
        result: object = plugin.close()
        if inspect.isawaitable(result):  # a plugin may have had a plain `close` before there was one in `Plugin`
            await result
    except Exception:
        log.exception("plugin %s of %s cannot be closed", plugin.name, bot_id)


def _known(names: Mapping[str, object] | Sequence[str]) -> str:
    return f"It knows: {', '.join(names) or 'none'}."
