"""The tools with which users book, find, move and cancel appointments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from babel.core import UnknownLocaleError
from babel.dates import format_date
from sartor.errors import ToolError
from sartor.texts import Text, in_language
from sartor.tools import Tool, tool
from sartor.values import Turn

from sartor_plugins.calendar.ledger import Appointment, Ledger, Pages, tidy_code
from sartor_plugins.calendar.plan import Plan, Service
from sartor_plugins.calendar.settings import CalendarSettings

__all__ = ["Desk"]

_MOST_TEXT = 500
_NOBODY = "user=anonymous"
"""Whose the appointments are of all users of whom the host application says nothing."""


class Desk:
    """The appointments of one bot, as its users may see and change them."""

    def __init__(self, settings: CalendarSettings, plan: Plan, ledger: Ledger) -> None:
        self._settings = settings
        self._plan = plan
        self._ledger = ledger

    def tools(self) -> Sequence[Tool]:
        """What the bot is given."""
        return [
            tool(self.bookable_services),
            tool(self.free_times),
            tool(acts=True)(self.book_appointment),
            tool(self.find_appointment),
            tool(acts=True)(self.move_appointment),
            tool(acts=True)(self.cancel_appointment),
        ]

    def bookable_services(self, turn: Turn) -> list[str]:
        """What appointments can be booked for."""
        return [in_language(service.title, turn.language) for service in self._plan.services.values()]

    def free_times(
        self, turn: Turn, day: date, service: str = "", people: int = 1, resource: str = "", code: str = ""
    ) -> list[str]:
        """The free times of a day. With the code of an appointment, those to which it can be moved."""
        with self._ledger.reading() as pages:
            moved = self._own(pages, turn, code) if code else None
            wanted = self._service(turn, moved.service if moved else service)
            people = moved.people if moved else people
            return [f"{start:%H:%M}" for start in self._free(pages, turn, wanted, day, people, resource, moved)]

    def book_appointment(
        self,
        turn: Turn,
        day: date,
        time: str,
        name: str,
        service: str = "",
        people: int = 1,
        resource: str = "",
        contact: str = "",
        note: str = "",
    ) -> dict[str, str]:
        """Book an appointment."""
        wanted, owner, now = self._service(turn, service), self._owner(turn), _now(turn)
        start = self._plan.moment(day, time)
        with self._ledger.writing(self._keep(now)) as pages:
            for made in pages.of_turn(turn.id, owner):
                if made.service == wanted.key and made.start == start:
                    return self._told(made, turn)
            if owner != _NOBODY and pages.ahead(owner, now) >= self._settings.per_user:
                raise self._no(turn, self._settings.replies.most)
            free = self._free(pages, turn, wanted, day, people, resource)
            if start is None or start not in free:
                raise self._no(turn, self._settings.replies.taken)
            told = (name[:_MOST_TEXT], contact[:_MOST_TEXT], note[:_MOST_TEXT], people)
            at = start.astimezone(UTC)
            made = Appointment(pages.new_code(), owner, turn.id, wanted.key, free[start], at, at + wanted.length, *told)
            pages.add(made, wanted.cells(at))
        return self._told(made, turn)

    def find_appointment(self, turn: Turn, code: str) -> dict[str, str]:
        """Look up an appointment by its booking code."""
        with self._ledger.reading() as pages:
            return self._told(self._own(pages, turn, code), turn)

    def move_appointment(self, turn: Turn, code: str, day: date, time: str) -> dict[str, str]:
        """Move an appointment to another time."""
        start = self._plan.moment(day, time)
        with self._ledger.writing(self._keep(_now(turn))) as pages:
            old = self._changeable(pages, turn, code)
            wanted = self._service(turn, old.service)
            if start == old.start:
                return self._told(old, turn)
            free = self._free(pages, turn, wanted, day, old.people, "", old)
            if start is None or start not in free:
                raise self._no(turn, self._settings.replies.taken)
            at = start.astimezone(UTC)
            moved = replace(old, unit=free[start], start=at, end=at + wanted.length)
            pages.remove(old.code)
            pages.add(moved, wanted.cells(at))
        return self._told(moved, turn)

    def cancel_appointment(self, turn: Turn, code: str) -> dict[str, str]:
        """Cancel an appointment."""
        with self._ledger.writing(self._keep(_now(turn))) as pages:
            old = self._changeable(pages, turn, code)
            pages.remove(old.code)
        return self._told(old, turn)

    def _free(
        self,
        pages: Pages,
        turn: Turn,
        service: Service,
        day: date,
        people: int = 1,
        resource: str = "",
        moved: Appointment | None = None,
    ) -> dict[datetime, str]:
        """The times of a day at which the service is free, in their order, each with the unit that it is free with:
        the one that it was, or else the first."""
        units = self._plan.units(service, people, resource)
        if moved is not None:
            units = sorted(units, key=lambda unit: unit.key != moved.unit)
        starts = {unit.key: [*self._plan.starts(service, unit, day, _now(turn))] for unit in units}
        instants = sorted(start for each in starts.values() for start in each)
        if not instants:
            return {}
        cells = range(service.cells(instants[0]).start, service.cells(instants[-1]).stop)
        taken = pages.taken([*starts], cells, moved.code if moved else "")
        free: dict[datetime, str] = {}
        for unit, times in starts.items():
            for start in times:
                if not any((unit, at) in taken for at in service.cells(start)):
                    free.setdefault(start, unit)
        return dict(sorted(free.items()))

    def _service(self, turn: Turn, called: str) -> Service:
        service = self._plan.service(called)
        if service is None:
            raise self._no(turn, self._settings.replies.service)
        return service

    def _own(self, pages: Pages, turn: Turn, code: str) -> Appointment:
        """The user's appointment of that code."""
        found = pages.find(tidy_code(code))
        if found is None or (self._settings.owner == "user" and found.owner != self._owner(turn)):
            raise self._no(turn, self._settings.replies.unknown)
        return found

    def _changeable(self, pages: Pages, turn: Turn, code: str) -> Appointment:
        found = self._own(pages, turn, code)
        if found.start <= _now(turn) + timedelta(minutes=self._settings.notice):
            raise self._no(turn, self._settings.replies.late)
        return found

    def _owner(self, turn: Turn) -> str:
        told = turn.attributes.get(self._settings.attribute) if self._settings.attribute else None
        return f"{self._settings.attribute}={told}" if told is not None else f"user={turn.user}"

    def _told(self, made: Appointment, turn: Turn) -> dict[str, str]:
        """What the user is told of an appointment."""
        start = made.start.astimezone(self._plan.zone)
        service = self._plan.services.get(made.service)
        return {
            "code": made.code,
            "service": in_language(service.title, turn.language) if service else made.service,
            "day": _written(start, turn.language),
            "time": f"{start:%H:%M}",
            "name": made.name,
        }

    def _keep(self, now: datetime) -> datetime:
        return now - timedelta(days=self._settings.keep_days)

    def _no(self, turn: Turn, why: Text) -> ToolError:
        return ToolError(in_language(why, turn.language))


def _now(turn: Turn) -> datetime:
    return turn.started or datetime.now(UTC)


def _written(day: date, language: str) -> str:
    try:
        return format_date(day, format="full", locale=language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return day.isoformat()
