"""Appointments without an outside service: opening hours, free times, bookings that cannot clash.

::

    calendar:
      timezone: Europe/Paris
      hours: mon-fri 9:00-12:00 14:00-18:00, sat 9:00-13:00
      services:
        checkup: {title: {en: Check-up, fr: Contrôle}, minutes: 30}
      resources:
        chair: {count: 2}

The bookings are kept in an SQLite file in the tenant's own folder, so that erasing the tenant erases them. Beside it
stands the same as a calendar file (RFC 5545), which calendar programs can subscribe to where you serve it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo

from sartor_plugins.calendar.desk import Desk
from sartor_plugins.calendar.ledger import Ledger
from sartor_plugins.calendar.plan import Plan
from sartor_plugins.calendar.settings import CalendarSettings

__all__ = ["CalendarPlugin"]


class CalendarPlugin(Plugin):
    """Tools that tell free times, and book, find, move and cancel appointments."""

    Settings: ClassVar[type[PluginSettings]] = CalendarSettings
    hook_versions = "1"

    def __init__(self, settings: CalendarSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        plan = Plan(self._settings)
        ledger = Ledger(bot.data / "calendar" / f"{self._settings.name or bot.bot}.db", plan, bot.language)
        return Desk(self._settings, plan, ledger).tools()
