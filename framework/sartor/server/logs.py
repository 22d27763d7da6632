"""Logs of the service: one line for each event, with whose it is, and without what anybody wrote.

The message of an exception may quote a user, a document or a key, since plugins and other libraries make it. So only
its type and the places that it came through are logged, unless content is asked for.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from traceback import walk_tb
from typing import Literal, TextIO

from sartor.errors import SartorError
from sartor.observing import Observer
from sartor.values import JSONValue, Reply, Turn

__all__ = ["REQUEST", "JSONLines", "PlainLines", "RequestNote", "TurnLines", "set_up_logs"]

log = logging.getLogger("sartor.turns")

_FIELDS = ("method", "route", "status", "seconds", "bytes", "outcome", "tokens", "first_text")
"""What is logged beside the message where a record has it."""
_OURS = ("sartor", "sartor_plugins", "sartor_project_plugins", "uvicorn")
"""The loggers that may say more than warnings: what others tell of their work may hold addresses and texts."""
_PLACES = 12
_CAUSES = 4
_COLOURS = {logging.DEBUG: "90", logging.INFO: "32", logging.WARNING: "33"}
_RED = "31"
_GREY = "90"
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) != "\n"}


@dataclass(frozen=True, slots=True)
class RequestNote:
    """What is known of the request that is being answered."""

    id: str
    state: Mapping[str, object]
    """The request's own; `tenant` is in it once it is known."""

    @property
    def tenant(self) -> str:
        return str(self.state.get("tenant", ""))


@dataclass(frozen=True, slots=True)
class _TurnNote:
    tenant: str
    bot: str
    turn: str


REQUEST: ContextVar[RequestNote | None] = ContextVar("sartor_request", default=None)
"""The request that is being answered, in its task and in those which it began."""

_TURN: ContextVar[_TurnNote | None] = ContextVar("sartor_turn", default=None)


class TurnLines(Observer):
    """Logs each turn that is over, and lets every line that is written during one say so."""

    def turn_started(self, turn: Turn) -> None:
        _TURN.set(_TurnNote(turn.tenant, turn.bot, turn.id))  # each turn runs in a task of its own

    def turn_finished(self, reply: Reply) -> None:
        told: dict[str, JSONValue] = {
            "outcome": reply.outcome.value,
            "seconds": round(reply.seconds.get("total", 0.0), 4),
            "tokens": reply.usage.prompt + reply.usage.generated,
        }
        if (first := reply.seconds.get("first_text")) is not None:
            told["first_text"] = round(first, 4)
        log.info("turn is over", extra=told)

    def turn_refused(self, turn: Turn, error: SartorError) -> None:
        log.info("turn is refused", extra={"outcome": type(error).__name__})


class JSONLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, *, content: bool = False) -> None:
        super().__init__()
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, JSONValue] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record, content=self._content),
            **dict(_fields(record)),
        }
        if record.exc_info and record.exc_info[1] is not None:
            told["exception"] = _exception(record.exc_info[1], content=self._content)
        return json.dumps(told, separators=(",", ":"))


class PlainLines(logging.Formatter):
    """Lines for a terminal."""

    def __init__(self, *, content: bool = False, colours: bool = False) -> None:
        super().__init__()
        self._content = content
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        level = self._painted(f"{record.levelname.lower():8}", _COLOURS.get(record.levelno, _RED))
        parts = [f"{_time(record).astimezone():%H:%M:%S}", level, _clean(_message(record, content=self._content))]
        if fields := " ".join(f"{name}={value}" for name, value in _fields(record)):
            parts.append(self._painted(_clean(fields), _GREY))
        lines = [" ".join(parts)]
        if record.exc_info and record.exc_info[1] is not None:
            lines += [_clean(line) for line in _indented(_exception(record.exc_info[1], content=self._content))]
        return "\n    ".join(lines)

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def set_up_logs(
    form: Literal["json", "text"] = "json",
    *,
    level: str = "info",
    content: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Send what this process logs to `stream` (standard error), in place of what was set up before.

    With `content`, messages of exceptions are logged too, which may hold what users wrote.
    """
    stream = stream or sys.stderr
    plain = PlainLines(content=content, colours=stream.isatty())
    target = logging.StreamHandler(stream)
    target.setFormatter(JSONLines(content=content) if form == "json" else plain)
    root = logging.getLogger()
    root.handlers[:] = [target]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(True)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _message(record: logging.LogRecord, *, content: bool) -> str:
    """What the record says; of an exception that it is to name, other than our own, the type only."""
    told = (lambda argument: argument) if content else _without_message
    text, given = str(told(record.msg)), record.args
    arguments = {key: told(one) for key, one in given.items()} if isinstance(given, dict) else given
    if isinstance(given, tuple):
        arguments = tuple(map(told, given))
    with suppress(TypeError, ValueError, KeyError):  # a mistake in the call: better than nothing
        text = text % arguments if arguments else text
    return text.strip() if content or record.name != "asyncio" else text.partition("\n")[0]


def _without_message(argument: object) -> object:
    if isinstance(argument, OSError) and argument.strerror:  # the system's own words
        return f"{type(argument).__name__}: {argument.strerror}"
    if isinstance(argument, BaseException) and not isinstance(argument, SartorError):
        return type(argument).__name__
    return argument


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, JSONValue]]:
    """Whose the record is, and what it measured."""
    request, turn = REQUEST.get(), _TURN.get()
    if request is not None:
        yield "request", request.id
    if tenant := turn.tenant if turn else request.tenant if request else "":
        yield "tenant", tenant
    if turn is not None:
        yield "bot", turn.bot
        yield "turn", turn.turn
    for name in _FIELDS:
        if (value := getattr(record, name, None)) is not None:
            yield name, value


def _exception(error: BaseException, *, content: bool) -> dict[str, JSONValue]:
    """The type of `error`, where it came through (the last is where it was raised), and what it came of."""
    told: dict[str, JSONValue] = {}
    inner = told
    current: BaseException | None = error
    for _ in range(_CAUSES):
        assert current is not None
        inner["type"] = type(current).__name__
        if content:
            inner["message"] = str(current)
        inner["places"] = list(_places(current))
        if isinstance(current, BaseExceptionGroup):
            inner["of"] = [type(one).__name__ for one in current.exceptions[:_CAUSES]]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if current is None:
            break
        cause: dict[str, JSONValue] = {}
        inner["cause"] = cause
        inner = cause
    return told


def _places(error: BaseException) -> Sequence[str]:
    found = [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in islice(walk_tb(error.__traceback__), 1000)
    ]
    return found[-_PLACES:]


def _indented(told: dict[str, JSONValue]) -> Iterator[str]:
    yield f"{told['type']}: {told['message']}" if told.get("message") else str(told["type"])
    places = told["places"]
    assert isinstance(places, list)
    for place in places:
        yield f"  at {place}"
    if isinstance(cause := told.get("cause"), dict):
        yield from (f"from {line}" if at == 0 else line for at, line in enumerate(_indented(cause)))


def _clean(text: str) -> str:
    """`text` without what could move a terminal's cursor, or pass for another line."""
    return text.translate(_CONTROLS).replace("\n", "\n    ")
