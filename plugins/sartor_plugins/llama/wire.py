"""What goes through the pipes between a process and the worker that computes for it: JSON, each piece with its length.

Nothing of it is ever executed or unpickled. What comes from the worker is checked field by field, since native code may
have damaged it: `Garbled` is raised for what is not exactly as it must be.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any, Literal, TypeVar, cast

from sartor import errors
from sartor.errors import ModelError, OverloadedError, SartorError
from sartor.values import Choices

from sartor_plugins.llama.prompt import Called, Line
from sartor_plugins.llama.reply import Compared, Ended, Request, Said
from sartor_plugins.llama.sampling import Sampling
from sartor_plugins.llama.toolcalls import BrokenCall, Call, Text

__all__ = ["Frame", "Garbled", "error_of", "event_of", "frame", "read", "request_of", "told_error", "told_event"]

Frame = dict[str, Any]
"""A JSON object."""

_LENGTH = struct.Struct(">I")
_LONGEST = 64 << 20
_KINDS: Mapping[str, type[SartorError]] = {
    name: kind
    for name in errors.__all__
    if issubclass(kind := getattr(errors, name), SartorError) and kind is not OverloadedError
}

T = TypeVar("T")


class Garbled(Exception):
    """What was read is not what was written."""


def frame(told: Frame) -> bytes:
    """`told` as it goes through a pipe."""
    data = json.dumps(told, default=_plain).encode("ascii")
    return _LENGTH.pack(len(data)) + data


def read(stream: IO[bytes], longest: int = _LONGEST) -> Frame | None:
    """The next frame; None at the end of the stream. Raises `Garbled`."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > longest:
        raise Garbled(f"a frame of {length} bytes")
    data = stream.read(length)
    if len(data) < length:
        return None
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Garbled(str(error)) from error
    if not isinstance(told, dict):
        raise Garbled("a frame that is no object")
    return told


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


# Requests: from the process that asks, which the worker trusts


def request_of(told: Frame) -> Request:
    """The request of which `dataclasses.asdict` made `told`."""
    choices = told["choices"]
    lines = [Line(**{**line, "calls": tuple(Called(**called) for called in line["calls"])}) for line in told["lines"]]
    if choices is not None:
        choices = Choices(**{**choices, "texts": tuple(choices["texts"]), "weights": tuple(choices["weights"])})
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    parts = {"lines": tuple(lines), "choices": choices, "sampling": Sampling(**told["sampling"])}
    return Request(**{**told, **lists, **parts})


# Events and errors: from the worker, which is not trusted to be sane


def told_event(event: Said) -> str | Frame:
    """An event for the pipe; text, of which there is most, as it is."""
    return event.text if isinstance(event, Text) else {"kind": type(event).__name__, **asdict(event)}


def event_of(told: object) -> Said:
    """The event of which `told_event` made `told`. Raises `Garbled`."""
    if isinstance(told, str):
        return Text(told)
    if not isinstance(told, dict):
        raise Garbled("an event that is neither text nor an object")
    match told.get("kind"):
        case "Call":
            return Call(_text(told, "id"), _text(told, "name"), _text(told, "arguments"))
        case "BrokenCall":
            return BrokenCall(_text(told, "text"), _text(told, "reason"))
        case "Compared":
            return Compared(tuple(map(_float, _list(told, "scores"))))
        case "Ended":
            return _ended(told)
    raise Garbled(f"an event of kind {told.get('kind')!r}")


def _ended(told: Frame) -> Ended:
    reason = told.get("reason")
    if reason not in ("stop", "length", "tool_calls"):
        raise Garbled(f"a reply that ended by {reason!r}")
    counts = {name: _get(told, name, int) for name in ("prompt", "cached", "generated", "drafted", "accepted")}
    known = cast("Literal['stop', 'length', 'tool_calls']", reason)
    return Ended(known, first=_float(told.get("first")), **counts)


def told_error(error: Exception) -> Frame:
    """An error for the pipe: as the nearest class of `sartor.errors`, with everything that it says."""
    if isinstance(error, OverloadedError):
        kind, retry = "OverloadedError", error.retry_after
    else:
        names = (one.__name__ for one in type(error).__mro__ if _KINDS.get(one.__name__) is one)
        kind, retry = next(names, "ModelError"), None
    if not isinstance(error, SartorError):
        return {"kind": kind, "what": f"the model failed: {type(error).__name__}: {error}"}
    return {"kind": kind, "what": error.what, "where": error.where, "remedy": error.remedy, "retry_after": retry}


def error_of(told: object) -> SartorError:
    """The error of which `told_error` made `told`. Raises `Garbled`."""
    if not isinstance(told, dict):
        raise Garbled("an error that is no object")
    what, where, remedy = _text(told, "what"), _optional(told, "where"), _optional(told, "remedy")
    if told.get("kind") == "OverloadedError":
        return OverloadedError(what, where=where, remedy=remedy, retry_after=_float(told.get("retry_after")))
    return _KINDS.get(_text(told, "kind"), ModelError)(what, where=where, remedy=remedy)


def _get(told: Frame, name: str, kind: type[T]) -> T:
    value = told.get(name)
    if type(value) is not kind:  # a bool is no int here
        raise Garbled(f"{name!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def _text(told: Frame, name: str) -> str:
    return _get(told, name, str)


def _list(told: Frame, name: str) -> Sequence[object]:
    return _get(told, name, list)


def _optional(told: Frame, name: str) -> str | None:
    return None if told.get(name) is None else _text(told, name)


def _float(value: object) -> float:
    if type(value) not in (int, float):
        raise Garbled(f"{value!r} is no number")
    return float(cast("float", value))
