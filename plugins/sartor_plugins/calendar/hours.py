"""Opening hours as people write them: ``mon-fri 9:00-12:00 14:00-18:00, sat 9:00-13:00``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

__all__ = ["Hours", "parse_closed", "parse_hours"]

Hours = Mapping[int, Sequence[tuple[int, int]]]
"""By weekday (Monday is 0), from which to which minute of the day."""

_DAYS = {
    name: number
    for names in (
        "monday tuesday wednesday thursday friday saturday sunday",
        "mon tue wed thu fri sat sun",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "lun mar mer jeu ven sam dim",
    )
    for number, name in enumerate(names.split())
}
_TIME = r"(\d{1,2})(?:[:.h]([0-5]\d)?)?"
_SPAN = re.compile(rf"{_TIME}\s*(?:-|–|to|à)\s*{_TIME}")
_DAY = re.compile(r"([a-z]+)\.?(?:\s*(?:-|–|to|à|au)\s*([a-z]+)\.?)?")


def parse_hours(text: str) -> Hours:
    """The hours that `text` tells; days that it does not name are closed. Raises `ValueError`."""
    hours: dict[int, list[tuple[int, int]]] = {}
    for part in filter(str.strip, re.split(r"[,;\n]", text.lower())):
        days, spans = _days(part), [_span(found) for found in _SPAN.finditer(part)]
        rest = _SPAN.sub("", _DAY.sub("", part, count=1)).strip(" :")
        if rest and rest not in ("closed", "fermé"):
            raise ValueError(f"{part.strip()!r}: {rest!r} is no time; write for example mon-fri 9:00-12:00 14:00-18:00")
        for day in days:
            hours.setdefault(day, []).extend(spans)
    for day, told in hours.items():
        told.sort()
        if any(one[1] > other[0] for one, other in pairwise(told)):
            raise ValueError(f"hours overlap on day {day + 1} of the week")
    return hours


def parse_closed(days: Sequence[str]) -> frozenset[date | tuple[int, int]]:
    """The days that are closed: ``2026-12-24``, ``12-25`` in every year, ``2026-12-24..2027-01-02``. Raises
    `ValueError`."""
    closed: set[date | tuple[int, int]] = set()
    for told in days:
        first, _, last = told.partition("..")
        if match := re.fullmatch(r"(\d\d)-(\d\d)", told):
            month, day = int(match[1]), int(match[2])
            date(2028, month, day)  # a leap year
            closed.add((month, day))
            continue
        start = date.fromisoformat(first.strip())
        end = date.fromisoformat(last.strip()) if last else start
        if not 0 <= (end - start).days <= 366:
            raise ValueError(f"{told!r}: the second day must come after the first, within a year")
        closed |= {start + timedelta(ahead) for ahead in range((end - start).days + 1)}
    return frozenset(closed)


def _days(part: str) -> list[int]:
    match = _DAY.match(part.strip())
    names = [name for name in (match.groups() if match else ()) if name]
    unknown = [name for name in names if name not in _DAYS]
    if not names or unknown:
        raise ValueError(f"{part.strip()!r} does not begin with a day, such as mon or mon-fri")
    first, last = _DAYS[names[0]], _DAYS[names[-1]]
    return [(first + ahead) % 7 for ahead in range((last - first) % 7 + 1)]


def _span(found: re.Match[str]) -> tuple[int, int]:
    opens, closes = (int(found[at]) * 60 + int(found[at + 1] or 0) for at in (1, 3))
    if not 0 <= opens < closes <= 24 * 60 or opens % 5 or closes % 5:
        raise ValueError(f"{found[0]!r}: from an earlier to a later time of the same day, in steps of five minutes")
    return opens, closes
