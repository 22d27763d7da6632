"""A bot: the door through which messages come in, and where replies leave it. The way between is `sartor.turn`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakSet

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
from sartor.values import BotInfo, Event, JSONValue, Reply, Turn, TurnOptions

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

__all__ = ["Bot", "close_plugin"]

log = logging.getLogger(__name__)


class Bot:
    """One tenant's bot. Any number of turns may run at once."""

    def __init__(self, parts: BotParts, *, before: Callable[[], None] = lambda: None) -> None:
        """`before` is called before each turn begins; it may `renew` the bot."""
        self._parts = parts
        self._before = before
        self._users: WeakSet[object] = WeakSet()
        self._retiring: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[Reply]] = set()
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
        options = options or TurnOptions()
        turn = self._begin(text, user, conversation, audience, language, options)
        turn = replace(turn, attributes=dict(attributes)) if attributes else turn
        task = self._run(TurnPath(self._parts, turn, options, approve, _unheard))
        try:
            return await asyncio.shield(task)
        finally:
            await _end(task)

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
        turn = replace(turn, attributes=dict(attributes)) if attributes else turn
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        task = self._run(TurnPath(self._parts, turn, options, approve, events.put_nowait))
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            await _end(task)

    def as_runnable(self) -> Runnable[object, AIMessage]:
        """This bot as a LangChain `Runnable`."""
        from sartor.runnable import BotRunnable

        return BotRunnable(self.reply, self.info.id)

    def lend(self, user: object) -> None:
        """Keep the channels of now open as long as `user` is there, even where the bot is renewed meanwhile."""
        self._users.add(user)

    def renew(self, parts: BotParts) -> None:
        """Begin turns with `parts` from now on. Those that run end with the old parts, which are then closed."""
        old, turns, users = self._parts, set(self._running), self._users
        self._parts, self._users = parts, WeakSet()
        task = asyncio.create_task(self._retire(old, turns, users), name=f"old parts of {self.info.id}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, parts: BotParts, turns: Collection[asyncio.Task[Reply]], users: Collection[object]) -> None:
        if turns:
            await asyncio.wait(turns)
        while parts.channels and users and not self._closed:  # noqa: ASYNC110 - what is weakly held tells no event
            await asyncio.sleep(0.1)
        await _close_parts(parts)

    async def close(self) -> None:
        """Stop the turns that run; each is committed with what had been released. No more are taken. Channels
        and plugins are closed."""
        self._closed = True
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*self._retiring)
        await _close_parts(self._parts)

    def _run(self, path: TurnPath) -> asyncio.Task[Reply]:
        """Let the turn go its way in a task of its own."""
        task = asyncio.create_task(path.run(), name=f"turn {path.turn.id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _begin(
        self, text: str, user: str, conversation: str, audience: str, language: str, options: TurnOptions
    ) -> Turn:
        if self._closed:
            raise UsageError(f"{self.info.id} is closed", remedy="Ask the open project for the bot again.")
        self._before()
        spec, info = self._parts.spec, self._parts.info
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


async def _end(task: asyncio.Task[Reply]) -> None:
    """Stop the turn if its caller went away; it is committed with what had been released."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, SartorError):
            await task


def _unheard(event: Event) -> None:
    """Who waits for the reply alone does not hear of what happens until then."""


async def close_plugin(plugin: Plugin, bot_id: str) -> None:
    """Close a plugin of a bot. One that raises is logged."""
    try:
        result: object = plugin.close()
        if inspect.isawaitable(result):  # a plugin may have had a plain `close` before there was one in `Plugin`
            await result
    except Exception:
        log.exception("plugin %s of %s cannot be closed", plugin.name, bot_id)


async def _close_parts(parts: BotParts) -> None:
    if parts.alerts is not None:
        await parts.alerts.close()
    for channel in parts.channels:
        try:
            await channel.close()
        except Exception:
            log.exception("channel %s of %s cannot be closed", channel.name, parts.info.id)
    for plugin in parts.plugins:
        await close_plugin(plugin, parts.info.id)


def _known(names: Mapping[str, object] | Sequence[str]) -> str:
    return f"It knows: {', '.join(names) or 'none'}."
