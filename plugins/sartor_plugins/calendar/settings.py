"""What a business says of its appointments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from sartor.plugin import PluginSettings
from sartor.specbase import TimeZone
from sartor.texts import Text

from sartor_plugins.calendar.hours import parse_closed, parse_hours

__all__ = ["CalendarReplies", "CalendarSettings", "ResourceSettings", "ServiceSettings"]

Key = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$", max_length=63)]
_ON_MENU = re.compile(r"(?P<title>[^,;]*?\S)\s+(?P<minutes>\d{1,4})(?:\s*min(?:utes?|\.)?)?")


class ServiceSettings(PluginSettings):
    """What can be booked."""

    title: Text = ""
    """What users call it; by default its key."""
    minutes: int = Field(ge=5, le=24 * 60, multiple_of=5)
    """How long it takes."""
    gap: int = Field(default=0, ge=0, le=24 * 60, multiple_of=5)
    """Minutes that are kept free afterwards."""
    resources: tuple[Key, ...] = ()
    """Those that it can be had with; empty: all."""


class ResourceSettings(PluginSettings):
    """What is taken by an appointment: a person, a chair, a table."""

    title: Text = ""
    """What users call it; by default its key."""
    count: int = Field(default=1, ge=1, le=500)
    """How many there are that are alike."""
    seats: int = Field(default=0, ge=0)
    """For so many people each; 0: for any number."""
    hours: str = ""
    """When it can be had, where that is not whenever the business is open."""

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        parse_hours(value)
        return value


class CalendarReplies(PluginSettings):
    """What users are told when something cannot be done."""

    taken: Text = {
        "en": "this time is not free",
        "fr": "cet horaire n'est pas libre",
    }
    """Somebody else was faster, or it is not a time that can be booked at all."""
    service: Text = {"en": "this cannot be booked here", "fr": "cela ne se réserve pas ici"}
    """There is no such service."""
    unknown: Text = {
        "en": "there is no such appointment of yours",
        "fr": "vous n'avez pas de rendez-vous sous ce code",
    }
    """No appointment of this user has the code."""
    late: Text = {
        "en": "it is too late to change this appointment here",
        "fr": "il est trop tard pour modifier ce rendez-vous ici",
    }
    """The appointment has begun, or begins within `notice`."""
    most: Text = {
        "en": "you have as many appointments as can be booked here",
        "fr": "vous avez déjà le nombre maximal de rendez-vous réservables ici",
    }
    """The user has `per_user` appointments."""


class CalendarSettings(PluginSettings):
    """Settings of the plugin `calendar`."""

    timezone: TimeZone = "UTC"
    """The time zone of the business, such as ``Europe/Paris``."""
    hours: str = "mon-fri 9:00-17:00"
    """When it is open: days, then times, English or French: ``mon-fri 9:00-12:00 14:00-18:00, sat 9:00-13:00``."""
    closed: tuple[str, ...] = ()
    """Days on which it is not: ``2026-12-24``, ``12-25`` (each year), ``2026-12-24..2027-01-02``; in quotes."""
    menu: str = ""
    """In one line, what can be booked and how many minutes it takes: ``Check-up 30, Cleaning 45``."""
    services: dict[Key, ServiceSettings] = {}
    """The same with all that can be said, by key; beside what `menu` tells."""
    resources: dict[Key, ResourceSettings] = {}
    """What appointments take, by key. Each takes one; by default there is one for all."""
    step: int = Field(default=30, ge=5, le=24 * 60, multiple_of=5)
    """Minutes from one time that is offered to the next, from the opening on."""
    lead: int = Field(default=60, ge=0)
    """Minutes before an appointment until which it can be booked."""
    notice: int = Field(default=0, ge=0)
    """Minutes before an appointment until which it can be moved or cancelled."""
    days_ahead: int = Field(default=90, ge=1, le=730)
    """For how many days from today appointments can be booked."""
    per_user: int = Field(default=5, ge=1)
    """How many appointments a user may have ahead. Users of whom the host application says nothing are not counted."""
    owner: Literal["user", "code"] = "user"
    """Who may find, move and cancel an appointment: the user who booked it, with its code; or whoever knows the code,
    which suits visitors who come back from another device."""
    attribute: str = ""
    """What the host application says of the user under this name, such as a customer number, tells whose an appointment
    is, in place of the user's id."""
    keep_days: int = Field(default=30, ge=0)
    """For how many days a past appointment is kept."""
    name: Annotated[str, Field(pattern=r"^$|^[a-z0-9]+(-[a-z0-9]+)*$")] = ""
    """Bots of a tenant that give the same name share the bookings; by default a bot has its own."""
    replies: CalendarReplies = CalendarReplies()
    """What users are told when something cannot be done."""

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        if not any(parse_hours(value).values()):
            raise ValueError("it is never open")
        return value

    @field_validator("closed")
    @classmethod
    def _closed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_closed(value)
        return value

    @model_validator(mode="after")
    def _whole(self) -> CalendarSettings:
        offered = self.offered
        if not offered:
            raise ValueError("nothing can be booked: `menu` or `services` is needed")
        for key, service in offered.items():
            for resource in service.resources:
                if resource not in self.taken:
                    raise ValueError(f"the service {key!r} names the resource {resource!r}, which there is not")
        return self

    @property
    def taken(self) -> Mapping[str, ResourceSettings]:
        """All resources by key: where none is told, one for everything."""
        return self.resources or {"desk": ResourceSettings()}

    @property
    def offered(self) -> Mapping[str, ServiceSettings]:
        """All services by key: those of `menu`, then those of `services`. Raises `ValueError`."""
        offered: dict[str, ServiceSettings] = {}
        for part in filter(None, (part.strip() for part in re.split("[,;]", self.menu))):
            match = _ON_MENU.fullmatch(part)
            if match is None:
                raise ValueError(f"`menu`: {part!r} does not end with its minutes, such as Check-up 30")
            key = re.sub(r"[^a-z0-9]+", "-", match["title"].lower()).strip("-") or f"service-{len(offered) + 1}"
            offered[key] = ServiceSettings(title=match["title"], minutes=int(match["minutes"]))
        return {**offered, **self.services}
