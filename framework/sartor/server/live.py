"""Turns that run apart from the request that began them, so that a listener may go and come back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sartor.bot import Bot
from sartor.bots import Bots
from sartor.errors import SartorError
from sartor.judge import Approver
from sartor.server.eventlog import EventLog
from sartor.server.failures import Failure, failure_of
from sartor.servicespec import ServiceSpec
from sartor.values import Delta, Event, Finished, JSONValue, Reply, ToolCall, ToolStarted, TurnOptions

__all__ = ["Approval", "Decided", "LiveTurn", "LiveTurns", "Note", "Question"]

log = logging.getLogger("sartor.server")

_TO_COME = 10.0
"""Seconds that the listener for whom a turn was begun has to come."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a bot, and by whom."""

    bot_id: str
    text: str
    user: str
    conversation: str
    audience: str = ""
    language: str = ""
    attributes: Mapping[str, JSONValue] = field(default_factory=dict)
    options: TurnOptions = field(default_factory=TurnOptions)

    def put_to(self, bot: Bot, approve: Approver | None = None) -> AsyncGenerator[Event]:
        """The turn that answers it; see `Bot.stream`. Without `approve`, what needs a person's approval is refused."""
        return bot.stream(
            self.text,
            user=self.user,
            conversation=self.conversation,
            audience=self.audience,
            language=self.language,
            attributes=self.attributes,
            approve=approve,
            options=self.options,
        )


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call waits for a person."""

    call: ToolCall
    reason: str
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Decided:
    """A person has decided on a tool call."""

    call: str
    approve: bool


Note = Event | Approval | Decided | Failure
"""What happens in a turn, as listeners are told of it."""


class LiveTurn(EventLog[Note]):
    """One turn that runs: everything that happened in it, and who listens."""

    def __init__(self, id_: str, question: Question, keep: float) -> None:
        super().__init__()
        self.id = id_
        self.question = question
        self.task: asyncio.Task[None] | None = None
        self.came_to_nothing: Callable[[], Awaitable[None]] | None = None
        """Called when the turn left nothing behind: nothing is stored, and no tool was run."""
        self.cancelled = False
        self._begun = False
        self._keep = keep
        self._listeners = 0
        self._waiting: dict[str, tuple[Approval, asyncio.Future[bool]]] = {}
        self._leaving: asyncio.TimerHandle | None = None
        self._leave(max(keep, _TO_COME))

    @property
    def approvals(self) -> list[Approval]:
        """The tool calls that wait for a person."""
        return [approval for approval, _ in self._waiting.values()]

    async def listen(self, after: int = 0) -> AsyncGenerator[tuple[int, Note]]:
        """What happened, numbered from 1, from behind number `after` on, and then what happens, to the end.

        When the last listener goes before the end, the turn is cancelled, after `keep` seconds.
        """
        self._listeners += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        try:
            async with aclosing(super().listen(after)) as notes:
                async for numbered in notes:
                    yield numbered
        finally:
            self._listeners -= 1
            if not self._listeners and not self.done.is_set():
                self._leave(self._keep)

    async def outcome(self) -> Reply:
        """The reply, when the turn is over. Raises the `Failure` that it ended with."""
        async with aclosing(self.listen()) as notes:
            async for _, note in notes:
                if isinstance(note, Finished):
                    return note.reply
                if isinstance(note, Failure):
                    raise note
        raise Failure(503, "the turn was cancelled before anything came of it", code="cancelled")

    def cancel(self) -> None:
        """End the turn; what had been released is stored. Calling it again does nothing."""
        if not self.cancelled and not self.done.is_set():
            self.cancelled = True
            if self._begun and self.task is not None:
                self.task.cancel()

    def decide(self, call: str, approve: bool) -> bool:
        """Let a tool call that waits run, or not; false where none of that id waits."""
        if call not in self._waiting:
            return False
        _, answer = self._waiting.pop(call)
        if not answer.done():
            answer.set_result(approve)
        return True

    async def ask(self, call: ToolCall, reason: str) -> bool:
        """Wait for a person's decision; see `sartor.judge.Approver`."""
        approval = Approval(call, reason)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = (approval, answer)
        self.note(approval)
        try:
            approve = await answer
        finally:
            self._waiting.pop(call.id, None)
        self.note(Decided(call.id, approve))
        return approve

    def begin(self) -> bool:
        """Called by the task that walks the turn, when it does: false where it was cancelled before."""
        self._begun = True
        return not self.cancelled

    def end(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        super().end()

    def _leave(self, seconds: float) -> None:
        if seconds <= 0:
            self.cancel()
        else:
            self._leaving = asyncio.get_running_loop().call_later(seconds, self.cancel)


class LiveTurns:
    """The turns that run in this process, at most so many at once."""

    def __init__(self, bots: Bots, spec: ServiceSpec, refused: Callable[[], None] = lambda: None) -> None:
        """`refused` is called for each turn that there is no room for."""
        self._bots = bots
        self._refused = refused
        self._spec = spec
        self._turns: dict[tuple[str, str], LiveTurn] = {}
        self._running: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    @property
    def running(self) -> int:
        """How many turns run, whichever request began them."""
        return self._running.total()

    def find(self, tenant: str, turn: str) -> LiveTurn | None:
        """The tenant's turn of that id, if it runs here."""
        return self._turns.get((tenant, turn))

    def of_tenant(self, tenant: str) -> list[LiveTurn]:
        """All turns of the tenant that run apart from their requests."""
        return [turn for (owner, _), turn in self._turns.items() if owner == tenant]

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """A place for one turn. Raises `Failure` 429 where all are taken, 503 where the service is told to stop."""
        if self.draining:
            raise Failure(503, "the service is about to stop", code="unavailable", headers={"Retry-After": "5"})
        if self.running >= self._spec.turns or self._running[tenant] >= self._spec.tenant_turns:
            self._refused()
            message = "too many turns run already; try again later"
            raise Failure(429, message, code="overloaded", headers={"Retry-After": "1"})
        self._running[tenant] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            if not self._running:
                self._idle.set()

    def begin(self, id_: str, question: Question, keep: float = 0) -> LiveTurn:
        """Begin a turn that goes on for `keep` seconds when nobody listens. Raises `Failure` like `place`, and
        what `Bots` raises for a bot that is not there."""
        tenant = question.bot_id.partition("/")[0]
        bot = self._bots[question.bot_id]
        place = self.place(tenant)
        place.__enter__()
        turn = LiveTurn(id_, question, keep)
        stream = question.put_to(bot, turn.ask)
        self._turns[tenant, id_] = turn
        turn.task = asyncio.create_task(self._run(turn, stream), name=f"live turn {id_}")

        def over(task: asyncio.Task[None]) -> None:
            del self._turns[tenant, id_]
            place.__exit__(None, None, None)

        turn.task.add_done_callback(over)
        return turn

    async def drain(self, seconds: float) -> None:
        """Take no more, wait for those that run, and after `seconds` cancel what is left."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            for turn in list(self._turns.values()):
                turn.cancel()
            tasks = [turn.task for turn in self._turns.values() if turn.task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, turn: LiveTurn, stream: AsyncGenerator[Event]) -> None:
        try:
            if not turn.begin():
                raise asyncio.CancelledError
            async with aclosing(stream) as events:
                async for event in events:
                    turn.note(event)
        except asyncio.CancelledError:
            turn.note(await self._cancelled(turn))
        except Exception as error:
            await self._forget(turn)
            turn.note(failure_of(error))
        finally:
            turn.end()

    async def _cancelled(self, turn: LiveTurn) -> Finished | Failure:
        """What listeners are told of a turn that was cancelled: what was stored of it."""
        try:
            stored = await self._bots.store.tenant(turn.question.bot_id.partition("/")[0]).reply(turn.id)
        except SartorError as error:
            return failure_of(error)
        if stored is not None:
            told = "".join(note.text for note in turn.notes if isinstance(note, Delta))
            if stored.reply.text != told and stored.reply.text.startswith(told):  # released as it was cancelled
                turn.note(Delta(stored.reply.text[len(told) :]))
            return Finished(stored.reply)
        await self._forget(turn)
        return Failure(503, "the turn was cancelled before anything came of it", code="cancelled")

    async def _forget(self, turn: LiveTurn) -> None:
        """Let the same request be made again, unless a tool was run for it already."""
        if turn.came_to_nothing is None or any(isinstance(note, ToolStarted) for note in turn.notes):
            return
        try:
            await turn.came_to_nothing()
        except SartorError:
            log.exception("the request that began turn %s cannot be made again for a while", turn.id)
