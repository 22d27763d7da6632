"""What is called of plugins while a project starts, and how long it takes.

With ``SARTOR_TRACE_PLUGINS=1`` in the environment, each call is printed to stderr. Texts of settings and objects are
never shown, since they may hold secrets: of an object its kind and its name.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["Note", "noted", "shown", "watching"]

_MOST = 5


@dataclass
class Note:
    """One call: the import of a plugin, its making, or one of its hooks."""

    plugin: str
    what: str
    """``import``, ``make``, or the name of a hook."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    result: object = None
    seconds: float = 0.0
    error: str = ""
    """The kind of exception that it ended with; empty where it did not."""

    def __str__(self) -> str:
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.arguments.items())
        call = f"{self.what}({given})" if self.what.startswith("sartor_") else self.what
        came = f" raised {self.error}" if self.error else f" -> {shown(self.result)}" if self.result is not None else ""
        return f"{self.plugin}: {call}{came}  {self.seconds * 1000:.1f} ms"


Sink = Callable[[Note], None]

_SINK: ContextVar[Sink | None] = ContextVar("sartor_plugin_notes", default=None)


@contextmanager
def watching(sink: Sink) -> Iterator[None]:
    """Give `sink` a note of every call that is made of plugins within."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)


@contextmanager
def noted(plugin: str, what: str, arguments: Mapping[str, object] | None = None) -> Iterator[Note]:
    """Take the time of what is done within, and tell it to who watches."""
    note = Note(plugin, what, arguments or {})
    began = time.perf_counter()
    try:
        yield note
    except BaseException as error:
        note.error = type(error).__name__
        raise
    finally:
        note.seconds = time.perf_counter() - began
        if sink := _SINK.get():
            sink(note)
        if os.environ.get("SARTOR_TRACE_PLUGINS", "") not in ("", "0"):
            print(f"sartor: plugin {note}", file=sys.stderr)


def shown(value: object) -> str:
    """A value in a few words: of an object its kind, and its name where it has one."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    if isinstance(value, Mapping):
        return _all("{", [str(key) for key in value], "}")
    if isinstance(value, Sequence | set | frozenset):
        return _all("[", [shown(one) for one in value], "]")
    name = getattr(value, "id", "") if type(value).__name__ == "BotInfo" else getattr(value, "name", "")
    return f"{type(value).__name__} {name}" if isinstance(name, str) and name else type(value).__name__


def _all(begin: str, items: Sequence[str], end: str) -> str:
    more = [f"… {len(items) - _MOST} more"] if len(items) > _MOST else []
    return begin + ", ".join([*items[:_MOST], *more]) + end
