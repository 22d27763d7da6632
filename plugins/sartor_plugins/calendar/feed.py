"""The bookings as a calendar file (iCalendar, RFC 5545), for the calendar programs of the staff.

Hand-written, since it is little: escaped text, folded lines, times in UTC.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.texts import in_language

if TYPE_CHECKING:
    from sartor_plugins.calendar.ledger import Appointment
    from sartor_plugins.calendar.plan import Plan

__all__ = ["feed", "write_feed"]

_LINE = 75
"""Most bytes of a line, without its end."""


def write_feed(path: Path, appointments: Sequence[Appointment], plan: Plan, language: str) -> None:
    """Put `feed` in place of the file at `path`, whole or not at all. Raises `OSError`."""
    handle, draft = tempfile.mkstemp(prefix=".feed-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(feed(appointments, plan, language))
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise


def feed(appointments: Sequence[Appointment], plan: Plan, language: str) -> str:
    """The appointments as a calendar."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Sartor//calendar//EN"]
    for one in appointments:
        lines += _event(one, plan, language)
    lines.append("END:VCALENDAR")
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def _event(one: Appointment, plan: Plan, language: str) -> Iterator[str]:
    service = plan.services.get(one.service)
    title = in_language(service.title, language) if service else one.service
    people = f"{one.people} × " if one.people > 1 else ""
    yield "BEGIN:VEVENT"
    yield f"UID:{one.code}@sartor"
    yield f"DTSTAMP:{_utc(datetime.now(UTC))}"
    yield f"DTSTART:{_utc(one.start)}"
    yield f"DTEND:{_utc(one.end)}"
    yield f"SUMMARY:{_text(f'{people}{title}: {one.name}')}"
    yield f"LOCATION:{_text(one.unit)}"
    yield f"DESCRIPTION:{_text(chr(10).join(filter(None, (one.contact, one.note, one.code))))}"
    yield "END:VEVENT"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(value: str) -> str:
    plain = "".join(char for char in value.replace("\r\n", "\n").replace("\r", "\n") if char == "\n" or char >= " ")
    return plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """A line in pieces of at most `_LINE` bytes, no character cut in two; each but the first begins with a blank."""
    piece = ""
    for char in line:
        if len((piece + char).encode()) > _LINE:
            yield piece
            piece = " "
        piece += char
    yield piece
