"""One message of a channel on its way: the turn that it becomes, and the reply that goes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sartor.channels import Channel, Message
from sartor.delivery import Patience, deliver, fault
from sartor.errors import OverloadedError, SartorError, UsageError
from sartor.texts import Text, in_language
from sartor.values import Outcome, Reply, Turn, TurnOptions

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.store import TenantStore

__all__ = ["Errand"]

log = logging.getLogger("sartor.channels")

_TRIES = 6
_LONGEST = 30.0
_TOO_LONG: Text = {
    "en": "Your message is too long for me. Please shorten it.",
    "fr": "Votre message est trop long pour moi. Veuillez le raccourcir.",
}


@dataclass(eq=False)
class Errand:
    """Work for `sartor.lanes`."""

    bot: Bot
    channel: Channel
    message: Message
    turn: str
    """The id of the turn that it becomes."""
    store: TenantStore
    room: asyncio.Semaphore
    """How many turns of the bot run at once."""
    patience: Patience
    sleep: Callable[[float], Awaitable[object]]
    waited: asyncio.Future[Reply] | None = None
    """Who waits for the reply, in place of having it sent."""
    reply: Reply | None = field(default=None, init=False)

    @property
    def claimed(self) -> tuple[str, str]:
        """The user and the key under which the state database remembers the event."""
        return f"channel {self.channel.name}", f"{self.bot.info.bot} {self.message.event}"

    async def run(self) -> None:
        """Have the message answered, and the reply sent."""
        try:
            self.reply = await self._answered()
            if self.waited is None and not self.reply.text and self.reply.outcome is Outcome.SILENT:
                return  # a person has the conversation
            if self.waited is None:
                await deliver(self.channel, self.message, self.reply, patience=self.patience, sleep=self.sleep)
            elif not self.waited.done():
                self.waited.set_result(self.reply)
        except asyncio.CancelledError:
            await self.drop()
            raise

    async def drop(self) -> None:
        """The service or the bot stops before it was done: say so, and let the same event be taken again."""
        what = "was not answered" if self.reply is None else f"is answered by turn {self.turn}, which was not sent"
        log.error("event %s: it was stopped before", self._called(what))
        if self.waited is not None:
            self.waited.cancel()
        if self.reply is None:
            await self._forget()

    async def _answered(self) -> Reply:
        """The reply; meanwhile the user is told that it takes a while."""
        answering = asyncio.create_task(self._reply(), name=f"turn {self.turn}")
        try:
            if self.channel.patience is not None and self.waited is None:
                done, _ = await asyncio.wait({answering}, timeout=self.channel.patience)
                if not done:
                    await self._working()
            return await answering
        finally:
            if not answering.done():
                answering.cancel()
                with suppress(asyncio.CancelledError):
                    await answering

    async def _working(self) -> None:
        try:
            self.message = await self.channel.working(self.message)
        except Exception as error:
            log.warning("event %s: %s", self._called("waits, and could not be told so"), _told(error))

    async def _reply(self) -> Reply:
        message = self.message
        for number in range(_TRIES):
            try:
                async with self.room:
                    return await self.bot.reply(
                        message.text,
                        user=message.user,
                        conversation=message.conversation,
                        audience=message.audience,
                        language=message.language,
                        attributes=message.attributes,
                        options=TurnOptions(id=self.turn),
                    )
            except OverloadedError as error:
                if number + 1 == _TRIES:
                    return await self._failed(error)
                await self.sleep(min(error.retry_after, _LONGEST))
            except Exception as error:
                return await self._failed(error)
        raise AssertionError("unreachable")

    async def _failed(self, error: Exception) -> Reply:
        """What the user is told when there was no turn."""
        level = logging.WARNING if isinstance(error, UsageError) else logging.ERROR
        log.log(level, "event %s: %s", self._called("came to no turn"), _told(error))
        if self.waited is not None:
            await self._forget()
        spec, info, message = self.bot.spec, self.bot.info, self.message
        language = message.language if message.language in spec.languages else spec.languages[0]
        too_long = len(message.text) > spec.limits.question_characters
        text = in_language(_TOO_LONG if too_long else spec.replies.failed, language)
        turn = Turn(self.turn, message.conversation, info.tenant, info.bot, message.user, "", language=language)
        return Reply(turn, text, Outcome.FAILED, error=_told(error))

    async def _forget(self) -> None:
        try:
            await self.store.forget_request(*self.claimed, self.turn)
        except SartorError as error:
            log.error("event %s: %s", self._called("cannot be taken again before an hour has passed"), error)

    def _called(self, what: str) -> str:
        return f"{self.message.event} of channel {self.channel.name} to {self.bot.info.id} {what}"


def _told(error: Exception) -> str:
    """What may be logged: errors of our own say nothing of a message's text."""
    return error.what if isinstance(error, SartorError) else fault(error)
