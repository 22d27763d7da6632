"""Clocks that stand still, and ids that count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots

__all__ = ["FrozenClock", "counting", "steady"]


class FrozenClock:
    """Tells the same time until it is moved: ``clock()`` as a datetime, ``clock.seconds()`` since the epoch."""

    def __init__(self, moment: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        """Seconds since the epoch, in place of `time.time`."""
        return self.moment.timestamp()

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


def counting(prefix: str = "id") -> Callable[[], str]:
    """Ids that count: ``id-1``, ``id-2``."""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def steady(bots: Bots, bot_id: str, clock: Callable[[], datetime] | None = None) -> Bot:
    """The bot `bot_id` of an open project, with a clock that stands still and ids that count."""
    from sartor.bot import Bot

    return Bot(replace(bots.parts(bot_id), now=clock or FrozenClock(), new_id=counting()))
