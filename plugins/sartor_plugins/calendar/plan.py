"""Which times there are to book, before any is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sartor.texts import Text

from sartor_plugins.calendar.hours import Hours, parse_closed, parse_hours
from sartor_plugins.calendar.settings import CalendarSettings

__all__ = ["CELL", "Plan", "Service", "Unit"]

CELL = 300
"""Seconds of the smallest stretch of time that can be taken."""


@dataclass(frozen=True)
class Unit:
    """One person, chair or table."""

    key: str
    """Its resource's, with its number where there are several: ``chair#2``."""
    resource: str
    title: Text
    seats: int
    hours: Hours


@dataclass(frozen=True)
class Service:
    """What can be booked."""

    key: str
    title: Text
    length: timedelta
    gap: timedelta
    units: Sequence[Unit]
    """What it can be had with, the smallest first."""

    def cells(self, start: datetime) -> range:
        """The stretches of time that it takes, numbered since the epoch."""
        end = start + self.length + self.gap
        return range(int(start.timestamp()) // CELL, -(-int(end.timestamp()) // CELL))


class Plan:
    """The services of a business and when each can be had."""

    def __init__(self, settings: CalendarSettings) -> None:
        self.zone = ZoneInfo(settings.timezone)
        self._settings = settings
        self._closed = parse_closed(settings.closed)
        units = sorted(_units(settings), key=lambda unit: unit.seats or 1_000_000)
        self.services: Mapping[str, Service] = {
            key: Service(
                key,
                told.title or key,
                timedelta(minutes=told.minutes),
                timedelta(minutes=told.gap),
                [unit for unit in units if unit.resource in (told.resources or settings.taken)],
            )
            for key, told in settings.offered.items()
        }

    def service(self, called: str) -> Service | None:
        """The service of that key or title, in any language; the only one where nothing is told."""
        if not called:
            return next(iter(self.services.values())) if len(self.services) == 1 else None
        return next((one for one in self.services.values() if _is(called, one.key, one.title)), None)

    def units(self, service: Service, people: int, called: str) -> Sequence[Unit]:
        """What a service can be had with by so many people: the resource of that key or title, or any."""
        return [
            unit
            for unit in service.units
            if (not unit.seats or unit.seats >= people) and (not called or _is(called, unit.resource, unit.title))
        ]

    def starts(self, service: Service, unit: Unit, day: date, now: datetime) -> Iterator[datetime]:
        """When the service may begin with that unit on that day, as the business's clock shows it."""
        today = now.astimezone(self.zone).date()
        if not 0 <= (day - today).days <= self._settings.days_ahead:
            return
        if day in self._closed or (day.month, day.day) in self._closed:
            return
        first = now + timedelta(minutes=self._settings.lead)
        for opens, closes in unit.hours.get(day.weekday(), ()):
            end = self._at(day, closes)
            for minute in range(opens, closes, self._settings.step):
                start = self._at(day, minute)
                there = start.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) == start.replace(tzinfo=None)
                if there and _instant(start) >= first and _instant(start) + service.length <= _instant(end):
                    yield start

    def moment(self, day: date, at: str) -> datetime | None:
        """The time ``HH:MM`` of a day, as the business's clock shows it."""
        try:
            return datetime.combine(day, time.fromisoformat(at), self.zone)
        except ValueError:
            return None

    def _at(self, day: date, minute: int) -> datetime:
        day += timedelta(minute // (24 * 60))
        return datetime.combine(day, time(minute // 60 % 24, minute % 60), self.zone)


def _units(settings: CalendarSettings) -> Iterator[Unit]:
    for key, told in settings.taken.items():
        hours = parse_hours(told.hours or settings.hours)
        for number in range(1, told.count + 1):
            name = key if told.count == 1 else f"{key}#{number}"
            yield Unit(name, key, told.title or key, told.seats, hours)


def _instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _is(called: str, key: str, title: Text) -> bool:
    titles = [title] if isinstance(title, str) else title.values()
    wanted = called.strip().casefold()
    return wanted == key or any(wanted == one.strip().casefold() for one in titles)
