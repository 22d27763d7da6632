"""The door for channels: what a platform sends becomes turns in the background, each event once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sartor.channels import Answer, Channel, Message, Request, Said
from sartor.delivery import Patience, fault
from sartor.errands import Errand
from sartor.errors import NamingError, OverloadedError, PluginError, SartorError
from sartor.handover.word import Word
from sartor.lanes import Lanes
from sartor.names import split_bot_id
from sartor.values import Reply

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots

__all__ = ["Bounds", "Intake"]

log = logging.getLogger("sartor.channels")

_NOT_FOUND = Answer(404)
_LATER = 10.0
_ABANDONED = timedelta(hours=1)
"""An event that was taken so long ago, and has no turn yet, was taken by a process that has died."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is taken on at once."""

    waiting: int = 1000
    """Messages of all bots that wait or are being answered; further ones are refused with 503."""
    bot_waiting: int = 100
    """Those of one bot."""
    bot_turns: int = 16
    """Turns of one bot that run at once."""


class Intake:
    """Receives for all channels of an open project. `close` it before the project."""

    def __init__(
        self,
        bots: Bots,
        *,
        bounds: Bounds | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._bots = bots
        self._bounds = bounds or Bounds()
        self._patience = patience or Patience()
        self._sleep = sleep
        self._lanes = Lanes(most=self._bounds.waiting, each=self._bounds.bot_waiting)
        self._room: WeakKeyDictionary[Bot, asyncio.Semaphore] = WeakKeyDictionary()
        self._taking: set[asyncio.Task[str | None]] = set()
        self._starts: WeakKeyDictionary[Channel, asyncio.Future[None]] = WeakKeyDictionary()

    async def receive(self, name: str, bot_id: str, request: Request) -> Answer:
        """What the platform is told of `request` to the channel `name` of a bot. Its messages are taken on.

        404, whichever of tenant, bot and channel is not there; 503 when it should try again later.
        """
        if (found := self._find(name, bot_id)) is None:
            return _NOT_FOUND
        bot, channel = found
        bot.lend(asyncio.current_task())
        try:
            await self._started(channel)
            received = await channel.receive(request)
            if received.answer is None:
                return await self._answer(bot, channel, received.messages)
            self._lanes.check(bot.info.id, len(received.messages) + len(received.said))
            for message in received.messages:
                await self._kept(self._take(bot, channel, message))
            for said in received.said:
                await self._kept(self._hear(bot, channel, said))
            return received.answer
        except OverloadedError as error:
            log.warning("channel %s of %s was asked to try again: %s", name, bot_id, error.what)
            return _later(error.retry_after)
        except Exception as error:
            log.error("channel %s of %s: %s", name, bot_id, error if isinstance(error, SartorError) else fault(error))
            return _later(_LATER)

    async def close(self, seconds: float = 30.0) -> None:
        """Take nothing more, give messages under way `seconds` to be answered, and stop the rest, which is logged."""
        await self._lanes.close(seconds)
        await asyncio.gather(*self._taking, return_exceptions=True)

    def _find(self, name: str, bot_id: str) -> tuple[Bot, Channel] | None:
        try:
            split_bot_id(bot_id)
            bot = self._bots[bot_id]
        except NamingError:
            return None
        except SartorError as error:
            log.error("the channels of %s cannot be reached: %s", bot_id, error)
            return None
        return next(((bot, channel) for channel in bot.channels if channel.name == name), None)

    async def _started(self, channel: Channel) -> None:
        """Have the channel started once; after a failure, the next request tries again."""
        if channel not in self._starts:
            self._starts[channel] = asyncio.ensure_future(channel.start())
        try:
            await asyncio.shield(self._starts[channel])
        except BaseException:
            if (start := self._starts.get(channel)) is not None and start.done():
                del self._starts[channel]
            raise

    async def _answer(self, bot: Bot, channel: Channel, messages: tuple[Message, ...]) -> Answer:
        """The reply to a message as the answer to the request that brought it."""
        if len(messages) != 1:
            raise PluginError(f"channel {channel.name!r} wants {len(messages)} messages answered at once, not one")
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if (earlier := await self._kept(self._take(bot, channel, messages[0], reply))) is None:
            try:
                return channel.answer(messages[0], await asyncio.shield(reply))
            except asyncio.CancelledError:
                if reply.cancelled():
                    raise OverloadedError("the service is stopping", retry_after=_LATER) from None
                raise
        stored = await self._bots.store.tenant(bot.info.tenant).reply(earlier)
        return _later(_LATER, 409) if stored is None else channel.answer(messages[0], stored.reply)

    async def _kept(self, taking: Coroutine[None, None, str | None]) -> str | None:
        """Go on with `taking` also when the request goes away: an event that is remembered must be answered."""
        task = asyncio.create_task(taking)
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        return await asyncio.shield(task)

    async def _take(
        self, bot: Bot, channel: Channel, message: Message, waited: asyncio.Future[Reply] | None = None
    ) -> str | None:
        """Put the message into its lane; or the id of the turn that the same event has begun before."""
        lane = f"{channel.name} {message.user} {message.conversation or message.event}"
        if message.only_known and not self._lanes.busy(bot.info.id, lane) and not await self._known(bot, message):
            return None
        if bot not in self._room:
            self._room[bot] = asyncio.Semaphore(self._bounds.bot_turns)
        errand = Errand(
            bot,
            channel,
            message,
            uuid.uuid4().hex,
            self._bots.store.tenant(bot.info.tenant),
            self._room[bot],
            self._patience,
            self._sleep,
            waited,
        )
        bot.lend(errand)
        if (earlier := await self._claim(errand)) is not None:
            log.info("event %s of channel %s to %s came again", message.event, channel.name, bot.info.id)
            return earlier
        try:
            self._lanes.put(bot.info.id, lane, errand)
        except OverloadedError:
            await errand.store.forget_request(*errand.claimed, errand.turn)
            raise
        return None

    async def _hear(self, bot: Bot, channel: Channel, said: Said) -> None:
        """Put what a person said into the lane of its hand-over, once."""
        word = Word(self._bots, bot, channel.name, said)
        if not await word.claim():
            log.info("event %s of channel %s to %s came again", said.event, channel.name, bot.info.id)
            return
        try:
            self._lanes.put(bot.info.id, f"people {said.handover}", word)
        except OverloadedError:
            await word.drop()
            raise

    async def _claim(self, errand: Errand) -> str | None:
        """Remember the event; or the id of the turn that it has begun before, here or in another process."""
        row = await errand.store.claim(*errand.claimed, "channel", errand.turn)
        if row.turn != errand.turn and datetime.now(UTC) - row.created > _ABANDONED:
            if await errand.store.reply(row.turn) is not None:
                return row.turn
            await errand.store.forget_request(*errand.claimed, row.turn)
            row = await errand.store.claim(*errand.claimed, "channel", errand.turn)
        return None if row.turn == errand.turn else row.turn

    async def _known(self, bot: Bot, message: Message) -> bool:
        row = await self._bots.store.tenant(bot.info.tenant).conversation(message.conversation)
        return row is not None and (row.bot, row.user) == (bot.info.bot, message.user)


def _later(seconds: float, status: int = 503) -> Answer:
    return Answer(status, headers={"retry-after": str(max(1, round(seconds)))})
