"""Dates and times in what people write: "the 14th", "next Tuesday at half past two", "après-demain à 15 h".

The words around them are English and French; the names of months and days, and the order of a date in figures, are
those of any language (from the Unicode CLDR, by Babel).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

__all__ = ["Found", "Moment", "find_dates", "find_times", "folded", "number_of", "show_date"]

_NUMBERS = {
    word: number
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty",
        "zero un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
        "dix-huit dix-neuf vingt",
    )
    for number, word in enumerate(words.split())
} | {"a": 1, "an": 1, "une": 1}
_SMALL = "|".join(sorted(_NUMBERS, key=len, reverse=True))
_COUNT = rf"(?P<count>\d{{1,3}}|{_SMALL})"
_ORDINAL = r"(?:st|nd|rd|th|er|ere|eme|\.)?"


@dataclass(frozen=True, slots=True)
class Found:
    """A value in a text: what it is, and from where to where it is written."""

    value: str
    start: int
    end: int
    also: str = ""
    """What it may mean as well: 15:00 for "at 3"."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a date is understood by."""

    today: date
    language: str = "en"
    past: bool = False
    """Whether a date without its year is meant to be over already."""
    near: date | None = None
    """A date that was spoken of: "the 14th" is in its month."""


def find_dates(text: str, moment: Moment, *, alone: bool = False) -> list[Found]:
    """The dates in `text` as ISO 8601 writes them, in order. `alone`: a date is what was asked for, so that a figure
    is a day of the month."""
    plain = folded(text)
    found: list[Found] = []
    for pattern, read in _patterns(moment.language):
        for match in pattern.finditer(plain):
            if any(match.start() < one.end and one.start < match.end() for one in found):
                continue
            if (day := read(match, moment)) is not None:
                found.append(Found(day.isoformat(), *match.span()))
    bare = re.fullmatch(r"\W*(\d{1,2})\W*", plain) if alone and not found else None
    if bare and (day := _day_of_month(int(bare[1]), moment)) is not None:
        found.append(Found(day.isoformat(), *bare.span(1)))
    return sorted(found, key=lambda one: one.start)


def find_times(text: str, *, alone: bool = False) -> list[Found]:
    """The times of day in `text` as ``HH:MM``, in order. `alone`: a time is what was asked for, so that a figure is
    an hour."""
    plain = folded(text)
    found: list[Found] = []
    for pattern, read in _TIMES if not alone else (*_TIMES, _ALONE):
        for match in pattern.finditer(plain):
            if any(match.start() < one.end and one.start < match.end() for one in found):
                continue
            if times := read(match):
                found.append(Found(times[0], *match.span(), also=times[1] if len(times) > 1 else ""))
    return sorted(found, key=lambda one: one.start)


def show_date(value: str, language: str) -> str:
    """An ISO date as people of that language write it in full; as it is where it is none."""
    from babel.core import UnknownLocaleError
    from babel.dates import format_date

    try:
        return format_date(date.fromisoformat(value), format="full", locale=language.replace("-", "_"))
    except UnknownLocaleError:
        return value
    except ValueError:
        return value


def number_of(word: str) -> int:
    """The number that a figure or a word from zero to twenty means."""
    return _NUMBERS[word] if word in _NUMBERS else int(word)


def folded(text: str) -> str:
    """`text` in lower case without accents, each character in its place."""
    return "".join(unicodedata.normalize("NFKD", char.lower())[:1] or char for char in text)


_Read = Callable[[re.Match[str], Moment], date | None]


@lru_cache(maxsize=64)
def _patterns(language: str) -> Sequence[tuple[re.Pattern[str], _Read]]:
    months, days = _names(language, "months"), _names(language, "days")
    long_days = {name: number for name, number in days.items() if len(name) > 4}
    month, day, long_day = ("|".join(sorted(names, key=len, reverse=True)) for names in (months, days, long_days))
    year = r"(?:\.?,? (?P<year>\d{4}))?"
    weekday = rf"(?:(?:{day})\.?,? (?:the |le )?)?"
    figures_first = _day_first(language)

    def figures(match: re.Match[str], moment: Moment) -> date | None:
        one, two, year = int(match["one"]), int(match["two"]), match["year"]
        pairs = [(two, one), (one, two)] if figures_first else [(one, two), (two, one)]
        return next((made for month, day in pairs if (made := _made(year, month, day, moment))), None)

    def named(match: re.Match[str], moment: Moment) -> date | None:
        return _made(match["year"], months[match["month"]], int(match["day"]), moment)

    def on_weekday(match: re.Match[str], moment: Moment) -> date | None:
        return _weekday(long_days[match["weekday"]], match["which"] or "", moment)

    return [
        (re.compile(rf"\b{source}\b"), read)
        for source, read in (
            (r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})", _iso),
            (rf"{weekday}(?P<one>\d{{1,2}})(?P<sep>[/.-])(?P<two>\d{{1,2}})(?P=sep)(?P<year>\d{{4}}|\d{{2}})", figures),
            (rf"{weekday}(?P<one>\d{{1,2}})(?:/)(?P<two>\d{{1,2}})(?P<year>)(?![/\d])", figures),
            (
                rf"{weekday}(?P<day>\d{{1,2}}){_ORDINAL} ?(?:of |de )?(?P<month>{month}){year}",
                named,
            ),
            (
                rf"{weekday}(?P<month>{month})\.? (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?{year}",
                named,
            ),
            (r"(?:the )?day after tomorrow|apres[- ]demain", lambda match, moment: moment.today + timedelta(2)),
            (r"(?:the )?day before yesterday|avant[- ]hier", lambda match, moment: moment.today - timedelta(2)),
            (r"tomorrow|demain", lambda match, moment: moment.today + timedelta(1)),
            (r"yesterday|hier", lambda match, moment: moment.today - timedelta(1)),
            (r"today|tonight|aujourd.hui|ce soir", lambda match, moment: moment.today),
            (rf"(?:in|dans) {_COUNT} (?P<unit>day|week|month|jour|semaine|mois)s?", _ahead),
            (
                rf"{_COUNT} (?P<unit>day|week|month|jour|semaine|mois)s? ago|il y a {_COUNT.replace('count', 'n')} "
                r"(?P<u>jour|semaine|mois)s?",
                _back,
            ),
            (rf"(?:{day})\.?,? (?:the |le )?(?P<day>\d{{1,2}})(?:st|nd|rd|th|er)?(?![\w:/.]|[ ]?h)", _ordinal),
            (rf"(?P<which>next |this )?(?P<weekday>{long_day})(?P<after> prochain| next week)?", on_weekday),
            (r"(?:the )?(?P<day>\d{1,2})(?:st|nd|rd|th)", _ordinal),
            (r"le (?P<day>\d{1,2})(?:er)?(?![\w:/.]|[ ]?h)", _ordinal),
        )
    ]


def _names(language: str, kind: str) -> dict[str, int]:
    """The names of months (from 1) or of weekdays (Monday is 0), long and short ones."""
    from babel.core import Locale, UnknownLocaleError

    names: dict[str, int] = {}
    for tag in dict.fromkeys((language.replace("-", "_"), "en", "fr")):
        try:
            given = getattr(Locale.parse(tag), kind)["format"]
        except (UnknownLocaleError, ValueError):
            continue
        for width in ("wide", "abbreviated"):
            for number, name in given[width].items():
                plain = re.escape(folded(str(name)).rstrip("."))
                if len(plain) > 2:
                    names.setdefault(plain, int(number))
    return names


def _day_first(language: str) -> bool:
    from babel.core import Locale, UnknownLocaleError

    try:
        pattern = str(Locale.parse(language.replace("-", "_")).date_formats["short"].pattern)
    except (UnknownLocaleError, ValueError):
        return True
    return pattern.lower().find("d") < pattern.find("M")


def _made(year: str | None, month: int, day: int, moment: Moment) -> date | None:
    """That day, in the next year (or the last one) that has it where no year is told."""
    today = moment.today
    if year:
        years = [int(year) + 2000 if len(year) == 2 else int(year)]
    elif moment.past:
        years = [today.year - back for back in range(5)]
    else:
        years = [today.year + ahead for ahead in range(5)]
    for number in years:
        try:
            made = date(number, month, day)
        except ValueError:
            continue
        if year or (made <= today if moment.past else made >= today):
            return made
    return None


def _iso(match: re.Match[str], moment: Moment) -> date | None:
    return _made(match["year"], int(match["month"]), int(match["day"]), moment)


def _ordinal(match: re.Match[str], moment: Moment) -> date | None:
    return _day_of_month(int(match["day"]), moment)


def _day_of_month(day: int, moment: Moment) -> date | None:
    """That day of the month that was spoken of, or of the nearest one."""
    first = (moment.near or moment.today).replace(day=1)
    step = -1 if moment.past else 1
    for month in range(13):
        at = first.month - 1 + step * month
        try:
            made = date(first.year + at // 12, at % 12 + 1, day)
        except ValueError:
            continue
        if made <= moment.today if moment.past else made >= moment.today:
            return made
    return None


def _weekday(weekday: int, which: str, moment: Moment) -> date:
    today = moment.today
    if moment.past:
        return today - timedelta((today.weekday() - weekday) % 7 or 7)
    ahead = (weekday - today.weekday()) % 7
    if which.startswith("this"):
        return today + timedelta(ahead)
    ahead = ahead or 7
    if which.startswith("next") and today.weekday() + ahead < 7:
        ahead += 7  # of the week that begins next
    return today + timedelta(ahead)


def _ahead(match: re.Match[str], moment: Moment) -> date | None:
    return _moved(moment.today, number_of(match["count"]), match["unit"])


def _back(match: re.Match[str], moment: Moment) -> date | None:
    count, unit = match["count"] or match["n"], match["unit"] or match["u"]
    return _moved(moment.today, -number_of(count), unit)


def _moved(day: date, count: int, unit: str) -> date | None:
    if unit in ("month", "mois"):
        at = day.month - 1 + count
        for number in (day.day, 30, 29, 28):
            try:
                return date(day.year + at // 12, at % 12 + 1, number)
            except ValueError:
                continue
        return None
    return day + timedelta(count * (7 if unit in ("week", "semaine") else 1))


_HOUR = rf"(?P<hour>\d{{1,2}}|{_SMALL})"


def _clock(match: re.Match[str]) -> Sequence[str]:
    """One time, or two where nothing tells morning from afternoon."""
    groups = match.groupdict()
    hour, minute = number_of(groups["hour"]), int(groups.get("minute") or 0)
    if (shift := groups.get("past")) is not None:
        quarter = {"half": 30, "quarter": 15}[groups["part"]]
        hour, minute = (hour, quarter) if shift == "past" else (hour - 1, 60 - quarter)
    half = (groups.get("half") or "").replace(".", "").strip()
    if half and not 1 <= hour <= 12:
        return ()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    if not (0 <= hour < 24 and 0 <= minute < 60):
        return ()
    sure = half or hour == 0 or hour >= 12 or groups["hour"].startswith("0") or groups.get("sure") is not None
    times = [f"{hour:02}:{minute:02}"]
    if not sure:
        times.append(f"{hour + 12:02}:{minute:02}")
        if hour < 7:  # most doors are open in the afternoon
            times.reverse()
    return times


_HALF = r"(?P<half> ?[ap]\.?m\b\.?)"
_TIMES: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], Sequence[str]]]] = (
    (re.compile(rf"\b(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}}){_HALF}?(?!\d)"), _clock),
    (re.compile(rf"\b(?P<hour>\d{{1,2}})\.(?P<minute>\d{{2}}){_HALF}"), _clock),
    (re.compile(r"\b(?:at|a|around|vers) (?P<hour>\d{1,2})\.(?P<minute>\d{2})(?![\d.]| ?[%€$£])"), _clock),
    (re.compile(rf"\b{_HOUR}{_HALF}"), _clock),
    (re.compile(r"\b(?P<hour>\d{1,2})(?P<sure>) ?h(?:eures?)? ?(?P<minute>\d{2})?\b"), _clock),
    (re.compile(rf"\b(?P<part>half|quarter)[ -](?P<past>past|to) {_HOUR}\b"), _clock),
    (re.compile(rf"\b{_HOUR} (?:o.?clock|heures?)\b"), _clock),
    (re.compile(r"\b(?:noon|midday|midi)\b"), lambda match: ("12:00",)),
    (re.compile(r"\b(?:midnight|minuit)\b"), lambda match: ("00:00",)),
    (re.compile(r"\b(?:at|(?<!y )a|around|vers|about) (?P<hour>\d{1,2})\b(?![:/.,]?\d| ?[%€$£])"), _clock),
)
_ALONE = (re.compile(rf"^\W*{_HOUR}(?:\.(?P<minute>\d{{2}}))?\W*$"), _clock)
