"""What the process of an isolated plugin prints: so much of it goes to the log, at a pace that costs little."""

from __future__ import annotations

import logging
import os
import selectors
import time

__all__ = ["Printing"]

log = logging.getLogger("sartor.isolation")

_PIECE = 1 << 16
_PRINTED_A_SECOND = 1 << 16
"""Bytes; a process that prints more has to wait."""
_LOGGED_A_MINUTE = 50
_LINE = 500


class Printing:
    """What a process prints: so much of it goes to the log, at a pace that costs this process little."""

    def __init__(self, label: str) -> None:
        self.quiet = True
        """Whether the process has not said yet that its walls stand."""
        self._label = label
        self._rest = b""
        self._last = ""
        self._second = self._minute = time.monotonic()
        self._bytes = self._lines = 0
        self._watched = self._ended = False

    def again(self) -> float:
        """When it is read again; far away where it is read now."""
        return self._second + 1 if not self._watched and not self._ended else time.monotonic() + 3600

    def watch(self, selector: selectors.BaseSelector, file: int) -> None:
        """Take it up where a second has passed."""
        if not self._watched and not self._ended and (self._bytes == 0 or time.monotonic() >= self._second + 1):
            self._second, self._bytes = time.monotonic(), 0
            selector.register(file, selectors.EVENT_READ)
            self._watched = True

    def read(self, selector: selectors.BaseSelector, file: int) -> None:
        """Read a piece, and leave it alone for a while where there was much."""
        try:
            data = os.read(file, _PIECE)
        except BlockingIOError:
            return
        now = time.monotonic()
        if now >= self._second + 1:
            self._second, self._bytes = now, 0
        self._bytes += len(data)
        self._ended = not data
        if self._ended or self._bytes >= _PRINTED_A_SECOND:
            selector.unregister(file)
            self._watched = False
        self._split(data)

    def end(self, data: bytes) -> None:
        """Log what is left."""
        self._split(data + b"\n")
        self._ended = True

    def last_words(self) -> str:
        """The last line that it printed, where there was one."""
        return f": it printed last: {self._last}" if self._last else ""

    def _split(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: 4 * _LINE]
        for line in lines:
            self._log(line)

    def _log(self, line: bytes) -> None:
        now = time.monotonic()
        if now >= self._minute + 60:
            self._minute, self._lines = now, 0
        text = line[: 4 * _LINE].decode("utf-8", "replace")[:_LINE].strip()
        if not text:
            return
        self._last = "".join(one if one.isprintable() else "�" for one in text)
        if self._lines > _LOGGED_A_MINUTE:
            return
        self._lines += 1
        if self._lines > _LOGGED_A_MINUTE:
            log.warning("%s: it prints more, which is not logged", self._label)
        else:
            log.info("%s: %s", self._label, self._last)
