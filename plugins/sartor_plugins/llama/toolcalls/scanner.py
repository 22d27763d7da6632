"""Reads a reply while it streams. One character at a time, so that it cannot matter how the reply is cut."""

from __future__ import annotations

from collections.abc import Sequence

from sartor_plugins.llama.toolcalls.events import BrokenCall, Event, Text
from sartor_plugins.llama.toolcalls.form import NOT_YET, CallFormat, Progress, held_back

__all__ = ["CallScanner"]

_THOUGHT = "</think>"
"""After it a reply begins anew."""
_LONGEST = 400
"""Characters that are held back at most: nothing that begins a call is longer."""


class CallScanner:
    """Takes a reply piece by piece, gives back text at once and calls when they are complete.

    What stands inside a string of a call's arguments is never the end of that call nor the beginning of another:
    a text that a tool is given cannot become a call of its own, not even where the reply is cut off.
    """

    def __init__(self, form: CallFormat, names: Sequence[str]) -> None:
        self.form = form
        """The format of the call that has begun, or of the last one."""
        self._own = form
        self._names = frozenset(names)
        self._starts = form.starts(names)
        self._anywhere = frozenset(start.parts[0][0] for start in self._starts if not start.early)
        self._out: list[Event] = []
        self._held = ""
        self._said = ""
        self._first = True
        self._quiet = False
        self._body: str | None = None
        self._fresh: list[str] = []
        self._at = 0
        self._gap: str | None = None
        self._progress: Progress = form.notation.progress()

    @property
    def body(self) -> str | None:
        """The call so far, as far as the grammar of its format goes; None outside of one."""
        if self._body is not None and self._fresh:
            self._body += "".join(self._fresh)
            self._fresh.clear()
        return self._body

    def begin(self) -> None:
        """A call begins here by force: its opening has just been written and need not be fed."""
        self._enter(self._own, self._own.opening if self._own.bare else "")

    def feed(self, text: str) -> list[Event]:
        """What is certain after `text`."""
        for char in text:
            if self._body is None:
                self._outside(char)
            else:
                self._inside(char)
        return self._given()

    def finish(self) -> list[Event]:
        """What is left when the reply has ended."""
        body, self._body, held, self._held = self.body, None, self._held, ""
        if body is None:
            self._say(held)
        elif self._gap is None:
            self._end(body[self._at :])
        return self._given()

    def _given(self) -> list[Event]:
        """The events so far, neighbouring texts made one."""
        out: list[Event] = []
        for event in self._out:
            if isinstance(event, Text) and out and isinstance(last := out[-1], Text):
                out[-1] = Text(last.text + event.text)
            else:
                out.append(event)
        self._out = []
        return out

    def _outside(self, char: str) -> None:
        if self._quiet and char.isspace():  # between two calls
            return
        self._quiet = False
        if not self._held and not self._first and char not in self._anywhere:
            self._say(char)
            return
        self._held += char
        if self._first and self._held.isspace():
            self._first = len(self._held) < _LONGEST
            if self._first:
                return
        while self._held:
            waits = False
            for start in self._starts:
                if start.early and not self._first:
                    continue
                inside = start.match(self._held)
                if inside == NOT_YET:
                    waits = True
                elif inside is not None:
                    said, self._held = self._held[inside:], ""
                    self._enter(start.form, said)
                    return
            if waits and len(self._held) < _LONGEST:
                return
            said, self._held = self._held[0], self._held[1:]
            self._say(said)

    def _say(self, text: str) -> None:
        if text:
            self._out.append(Text(text))
            self._said = (self._said + text)[-len(_THOUGHT) :]
            self._first = (self._first and text.isspace()) or self._said == _THOUGHT

    def _enter(self, form: CallFormat, said: str) -> None:
        self.form = form
        self._body, self._at, self._gap = "", 0, None
        self._fresh.clear()
        self._progress = form.notation.progress()
        for char in said:
            self._inside(char)

    def _inside(self, char: str) -> None:
        if self._gap is not None:
            self._between(char)
            return
        self._fresh.append(char)
        self._progress.take(char)
        closing = self.form.closing
        if not closing:
            if self._progress.whole:
                self._read((self.body or "")[self._at :])
                self._gap = ""
        elif char == closing[-1] and not self._progress.quoted and (body := self.body or "").endswith(closing):
            self._body = None
            self._quiet, self._first = True, False
            self._read(body[: -len(closing)])

    def _between(self, char: str) -> None:
        """After a call that has no closing: more of them, or text."""
        assert self._gap is not None
        self._fresh.append(char)
        if char.isspace() or (self.form.again and char in ";,"):
            self._gap += char
        elif char in self.form.again:
            self._at = len(self.body or "") - 1
            self._gap = None
            self._progress = self.form.notation.progress()
            self._progress.take(char)
        else:
            gap, self._gap = self._gap.lstrip(), None
            self._body = None
            self._first = False
            for each in gap + char:
                self._outside(each)

    def _read(self, text: str) -> None:
        try:
            self._out += [written.event(self._names) for written in self.form.notation.parse(text)]
        except ValueError as error:
            self._out.append(BrokenCall(text, str(error)))

    def _end(self, text: str) -> None:
        """A reply that ends without the closing mark is a call all the same where nothing else is missing."""
        bare = text[: len(text) - held_back(text, [self.form.closing])]
        if self._progress.whole and not self._progress.quoted:
            self._read(bare)
        else:
            self._out.append(BrokenCall(text, "the reply ended inside the call"))
