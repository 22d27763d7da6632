"""What a message may say of a slot: every stretch of it that is of the slot's kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sartor.flows.dates import Found, Moment, find_dates, find_times, folded, number_of
from sartor.flows.signals import signals_of
from sartor.flows.spec import SlotSpec
from sartor.texts import in_language
from sartor.values import JSONValue
from sartor.words import stems_of

__all__ = ["Candidate", "Kinds", "covered", "fits"]

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d[\d ()./-]{5,}\d(?!\w)")
_NUMBER = re.compile(r"(?<![\w.,-])-?\d+(?:[.,]\d+)?(?![\w-])(?![.,]\d)")
_WORDS = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|un|une|deux|trois|quatre|cinq|sept|huit|neuf|"
    r"dix|onze|douze)\b"
)
_PLACE = re.compile(
    r"\b(?:(?P<first>first|premiere?|1st)|(?P<second>second|deuxieme|2nd)|(?P<third>third|troisieme|3rd)|"
    r"(?P<last>last|derniere?))\b"
)
_OPENERS = re.compile(
    r"^(?:it is|it's|it was|this is|that is|that's|my name is|i am|i'm|name is|because|c'est|ce sera|je m'appelle|"
    r"mon nom est|je suis|parce que|parce qu')[\s:]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that a slot may have, and where in the message it is written."""

    slot: str
    value: JSONValue
    start: int
    end: int


@dataclass(frozen=True)
class Kinds:
    """Looks for the values of slots in one message."""

    text: str
    language: str
    today: date

    def of(
        self,
        name: str,
        slot: SlotSpec,
        *,
        asked: bool = False,
        options: Sequence[str] = (),
        near: JSONValue = None,
    ) -> list[Candidate]:
        """The values of the slot in the message, in order. `asked`: the message answers the question for it, so
        that a bare figure, or any text, will do. `options` are those that a tool gave; `near` is the present value.
        """
        found = self._found(slot, asked, options, near)
        seen: dict[str, Candidate] = {}
        for value, start, end in found:
            seen.setdefault(repr(value), Candidate(name, value, start, end))
        return list(seen.values())

    def _found(
        self, slot: SlotSpec, asked: bool, options: Sequence[str], near: JSONValue
    ) -> Iterator[tuple[JSONValue, int, int]]:
        match slot.type:
            case "date":
                for one in find_dates(self.text, self._moment(slot, near), alone=asked):
                    yield one.value, one.start, one.end
            case "time":
                for one in find_times(self.text, alone=asked):
                    yield one.value, one.start, one.end
            case "email":
                yield from ((found[0].rstrip("."), *found.span()) for found in _EMAIL.finditer(self.text))
            case "phone":
                yield from ((found[0].strip(), *found.span()) for found in _PHONE.finditer(self.text))
            case "integer" | "number":
                yield from self._numbers(slot.type == "integer", asked)
            case "yes_no" if asked and (said := signals_of(self.text)).yes != said.no:
                yield said.yes, 0, len(self.text)
            case "choice":
                yield from self._choices(slot, asked, options)
            case "text":
                yield from self._texts(slot, asked)

    def _texts(self, slot: SlotSpec, asked: bool) -> Iterator[tuple[JSONValue, int, int]]:
        if slot.pattern:
            inner = slot.pattern.removeprefix("^").removesuffix("$")
            pattern = re.compile(rf"(?<!\w)(?:{inner})(?!\w)", re.IGNORECASE)
            yield from ((found[0].strip(), *found.span()) for found in pattern.finditer(self.text) if found[0])
        elif asked and (told := _OPENERS.sub("", self.text.strip()).strip(" .")):
            yield told, 0, len(self.text)

    def _moment(self, slot: SlotSpec, near: JSONValue) -> Moment:
        past = slot.at_most is not None and slot.at_most <= 0
        return Moment(self.today, self.language, past, date.fromisoformat(near) if isinstance(near, str) else None)

    def _numbers(self, whole: bool, asked: bool) -> Iterator[tuple[JSONValue, int, int]]:
        spans = [*find_dates(self.text, Moment(self.today, self.language)), *find_times(self.text)]
        for found in _NUMBER.finditer(self.text):
            value = float(found[0].replace(",", "."))
            if (value.is_integer() or not whole) and not covered(spans, *found.span()):
                yield int(value) if whole else value, *found.span()
        if asked:
            for found in _WORDS.finditer(folded(self.text)):
                if not covered(spans, *found.span()):
                    yield number_of(found[0]), *found.span()

    def _choices(self, slot: SlotSpec, asked: bool, options: Sequence[str]) -> Iterator[tuple[JSONValue, int, int]]:
        labels = {key: in_language(label, self.language) for key, label in slot.options.items()}
        labels = labels or {option: option for option in options}
        plain, said = folded(self.text), stems_of(self.text)
        whole = [(key, plain.find(folded(label))) for key, label in labels.items() if _stands_in(folded(label), plain)]
        longest = [
            key for key, _ in whole if not any(key != o and folded(labels[key]) in folded(labels[o]) for o, _ in whole)
        ]
        if longest:
            yield from ((key, at, at + len(labels[key])) for key, at in whole if key in longest)
            return
        if timed := _timed(self.text, labels, asked):
            yield from timed
            return
        named = {key: stems for key, label in labels.items() if (stems := stems_of(label))}
        all_of = [key for key, stems in named.items() if stems <= said]
        some = [key for key, stems in named.items() if said and said <= stems] if asked else []
        if fitting := all_of or some:
            yield from ((key, 0, len(self.text)) for key in fitting)
        elif asked and (key := _at_place(plain, [*labels])):
            yield key, 0, len(self.text)


def covered(spans: Sequence[Found | Candidate], start: int, end: int) -> bool:
    """Whether one of `spans` shares a character with the stretch from `start` to `end`."""
    return any(start < span.end and span.start < end for span in spans)


def fits(slot: SlotSpec, value: JSONValue, today: date) -> bool:
    """Whether a value keeps within the slot's bounds."""
    if slot.type == "date" and isinstance(value, str):
        value = (date.fromisoformat(value) - today) / timedelta(1)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    low, high = slot.at_least, slot.at_most
    return (low is None or value >= low) and (high is None or value <= high)


def _stands_in(label: str, plain: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", plain) is not None


def _timed(text: str, labels: Mapping[str, str], asked: bool) -> list[tuple[JSONValue, int, int]]:
    """The options that are times, by the times in `text`, whichever way they are written."""
    by_time: dict[str, str] = {}
    for option, label in labels.items():
        for time in find_times(label)[:1]:
            by_time[time.value] = option
            by_time.setdefault(time.also or time.value, option)
    if not by_time:
        return []
    fitting: list[tuple[JSONValue, int, int]] = []
    for found in find_times(text, alone=asked):
        key = by_time.get(found.value) or by_time.get(found.also)
        if key is not None:
            fitting.append((key, found.start, found.end))
    return fitting


def _at_place(plain: str, keys: Sequence[str]) -> str | None:
    """The option that "the second" means, or "2"."""
    if figure := re.fullmatch(r"\W*(\d{1,2})\W*", plain):
        at = int(figure[1]) - 1
    elif place := _PLACE.search(plain):
        at = {"first": 0, "second": 1, "third": 2, "last": len(keys) - 1}[str(place.lastgroup)]
    else:
        return None
    return keys[at] if 0 <= at < len(keys) else None
