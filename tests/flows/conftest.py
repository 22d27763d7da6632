"""A dentist's bot with two flows, and a clock that stands at Wednesday, 25 November 2026, noon in UTC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sartor
from sartor.bot import Bot
from sartor.values import Reply

TOOLS = '''
"""What a dentist's bot does."""
import datetime
from sartor import Plugin, hookimpl, tool
from sartor.errors import ToolError
from sartor.values import Turn

TIMES = ["09:00", "10:30", "15:00"]
BOOKED: list = []
FAULT: list = []

@tool
def free_times(day: datetime.date) -> list:
    "The free times of a day."
    return [] if day.weekday() > 4 else TIMES

@tool(acts=True)
def book(service: str, day: datetime.date, time: str, name: str, note: str = "") -> dict:
    "Book an appointment."
    if FAULT:
        raise FAULT.pop()
    BOOKED.append((service, day.isoformat(), time, name, note))
    return {"number": f"A-{len(BOOKED)}"}

@tool
def order_status(order: str) -> str:
    "Look up an order."
    if order != "BW-10011":
        raise ToolError("there is no such order")
    return "sent"

@tool(acts=True)
def register(order: str, reason: str, customer: str = "") -> str:
    "Register a return."
    BOOKED.append((order, reason, customer))
    return "R-1"

@tool
def count(guests: int, adult: bool, price: float = 0.0, email: str = "", phone: str = "") -> dict:
    "Count guests."
    BOOKED.append((guests, adult, price, email, phone))
    return {"guests": guests}

@tool
def tell(adult: bool, guests: int = 0, phone: str = "") -> str:
    "Tell of guests."
    BOOKED.append((adult,))
    return "told"

class Desk(Plugin):
    @hookimpl
    def sartor_tools(self):
        return [free_times, book, order_status, register, count, tell]
'''

BOT = """
grounding: free
timezone: Europe/Paris
languages: [en, fr]
audiences: {staff: {}}
plugins: {desk: {}}
flows:
  booking:
    title: {en: your appointment, fr: votre rendez-vous}
    start: {en: [book an appointment, make an appointment], fr: [prendre rendez-vous]}
    slots:
      service:
        ask: {en: "What is it for?", fr: "C'est pour quoi ?"}
        type: choice
        choices: {checkup: {en: A check-up, fr: Un contrôle}, cleaning: {en: Teeth cleaning, fr: Un détartrage}}
      day:
        ask: {en: "On which day?", fr: "Quel jour ?"}
        type: date
        at_least: 1
        at_most: 90
        wrong: We take bookings from tomorrow on, for three months.
      time: {ask: {en: "At what time on {day}?", fr: "À quelle heure, {day} ?"}, type: choice, choices_from: free_times}
      name: {ask: {en: "In whose name?", fr: "À quel nom ?"}}
      note: {ask: {en: "Anything we should know?", fr: "Une remarque ?"}, optional: true}
    confirm:
      en: "{service} on {day} at {time} for {name}. Shall I book it?"
      fr: "{service}, {day} à {time}, pour {name}. Je réserve ?"
    do: book
    done: {en: "Booked: {result.number}.", fr: "Réservé : {result.number}."}
  return_order:
    title: the return
    start: [return an order, send back]
    slots:
      order: {ask: "Which order?", pattern: 'BW-\\d{5}', check: order_status, wrong: "I know no order {order}."}
      reason: {ask: "Why?", type: choice, choices: {broken: It is broken, wrong: It is the wrong one}}
    do: register
"""

Talk = Callable[..., AbstractAsyncContextManager["Visit"]]

Hold = Callable[["Visit"], AbstractAsyncContextManager[tuple[asyncio.Task[Reply], asyncio.Event]]]


class Visit:
    """One user's conversation with the bot."""

    def __init__(self, bot: Bot, done: list[object], faults: list[Exception]) -> None:
        self.bot = bot
        self.done = done
        """What the tools that act did."""
        self.faults = faults
        """What the next booking raises."""
        self.last: Reply | None = None

    async def says(self, text: str, *, conversation: str = "c1", **who: object) -> Reply:
        self.last = await self.bot.reply(text, user="ann", conversation=conversation, **who)  # type: ignore[arg-type]
        return self.last

    async def says_all(self, *texts: str, **who: object) -> Reply:
        for text in texts:
            await self.says(text, **who)
        assert self.last is not None
        return self.last


@pytest.fixture
def talk(make_project: Callable[..., object]) -> Talk:
    """`async with talk(script=[…]) as visit: await visit.says("…")`; `bot` replaces the bot.yaml, `more` is put after
    it."""

    @asynccontextmanager
    async def begin(
        script: Sequence[object] = (),
        *,
        bot: str = BOT,
        more: str = "",
        now: datetime | None = None,
        choices: bool = False,
    ) -> AsyncIterator[Visit]:
        files = {"tenants/acme/desk/bot.yaml": bot + more, "plugins/desk.py": TOOLS}
        async with sartor.open(make_project(files, script=script, choices=choices)) as bots:  # type: ignore[arg-type]
            moment = now or datetime(2026, 11, 25, 12, tzinfo=UTC)
            made = Bot(replace(bots.parts("acme/desk"), now=lambda: moment))
            module = __import__("sys").modules[type(made.plugins[0]).__module__]
            yield Visit(made, module.BOOKED, module.FAULT)
            await made.close()

    return begin


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """`async with hold(visit) as (first, go)`: the user has said yes, and the booking runs until `go` is set; `first`
    is the task of that turn."""

    @asynccontextmanager
    async def begin(visit: Visit) -> AsyncIterator[tuple[asyncio.Task[Reply], asyncio.Event]]:
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(**arguments: object) -> dict[str, str]:
            begun.set()
            await go.wait()
            return {"number": "A-7"}

        tools = visit.bot._parts.tools
        monkeypatch.setitem(tools, "book", replace(tools["book"], function=slow))
        first = asyncio.create_task(visit.says("yes"))
        await begun.wait()
        yield first, go
        await asyncio.wait([first])

    return begin


@pytest.fixture
def bot_yaml() -> str:
    """The dentist's `bot.yaml`."""
    return BOT


@pytest.fixture
def desk_plugin() -> str:
    """The plugin that it names."""
    return TOOLS
