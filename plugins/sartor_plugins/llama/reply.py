"""One reply from its request to its end: the path that every call of the model takes."""

from __future__ import annotations

import codecs
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sartor.errors import ModelError
from sartor.values import Choices, JSONValue

from sartor_plugins.llama.choice import Chooser
from sartor_plugins.llama.grammar import Grammar, call_grammar
from sartor_plugins.llama.prompt import Line
from sartor_plugins.llama.sampling import Sampler, Sampling
from sartor_plugins.llama.session import Session
from sartor_plugins.llama.settings import ChoiceMethod
from sartor_plugins.llama.template import ChatTemplate
from sartor_plugins.llama.toolcalls import CallFormat, CallScanner, Event, Text, function_of, held_back
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Ended", "Request", "Voice"]

_LONGEST = 32
"""Characters of a token, on average, beyond which a prompt cannot fit."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the model."""

    lines: tuple[Line, ...]
    tools: tuple[JSONValue, ...] = ()
    """In OpenAI's form."""
    must_call: bool = False
    choices: Choices | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 512
    """Tokens of a freely written reply, or a tool call; a chosen text is never cut."""
    stop: tuple[str, ...] = ()
    scope: str = ""
    """Only a request of the same scope may use what this one leaves; empty: none."""


Reason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a reply."""

    reason: Reason
    prompt: int
    """Tokens of the prompt, and in `cached` those of them that were not computed."""
    cached: int
    generated: int
    first: float
    """Seconds from the beginning of the work to the first event."""


_Events = Generator[Event, None, tuple[Reason, int]]


class Voice:
    """Speaks through one session. To be used by the session's owner thread only."""

    def __init__(
        self,
        session: Session,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        form: CallFormat,
        method: ChoiceMethod,
    ) -> None:
        self.session = session
        self.vocabulary = vocabulary
        self.template = template
        self.form = form
        self._method = method

    def reply(self, request: Request) -> Generator[Event | Ended, None, None]:
        """The events of a reply; the last one is `Ended`. Closing the iterator ends the work.

        Raises `ModelError` when the prompt does not fit, `Stopped` when the session's abort flag is up.
        """
        began = time.monotonic()
        prompt = self._prompt(request)
        cached = self.session.begin(prompt, request.scope)
        first: float | None = None
        events = self._events(request)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                reason, generated = end.value
                break
            first = time.monotonic() - began if first is None else first
            yield event
        yield Ended(reason, len(prompt), cached, generated, first or time.monotonic() - began)

    def _prompt(self, request: Request) -> list[int]:
        pieces = self.template.render(request.lines, request.tools)
        length = sum(len(piece.text) for piece in pieces)
        size = self.session.size
        if length > size * _LONGEST:  # tokenizing it would keep the others waiting
            raise _too_long(f"{length} characters", size)
        prompt = self.vocabulary.encode(pieces)
        if len(prompt) >= size:
            raise _too_long(f"{len(prompt)} tokens", size)
        return prompt

    def _events(self, request: Request) -> _Events:
        opening = self.vocabulary.mark(self.form.opening) if request.tools else []
        begun = bool(request.tools) and request.must_call
        if request.choices is not None and not begun:
            chooser = Chooser(self.session, self.vocabulary, request.choices, self._method).choose(opening)
            while True:
                try:
                    yield Text(next(chooser))
                except StopIteration as end:
                    chosen = end.value
                    break
            if not chosen.call:
                return "stop", chosen.tokens
            begun = True
        return (yield from _Writer(self, request, opening if begun else []).write())


def _too_long(length: str, size: int) -> ModelError:
    return ModelError(
        f"the prompt has {length}, the model's context {size} tokens",
        remedy="Set `context` of the model higher, or give the bot fewer passages or a shorter history.",
    )


class _Writer:
    """Writes one reply freely, or a tool call once one has begun."""

    def __init__(self, voice: Voice, request: Request, opening: Sequence[int]) -> None:
        self._session = voice.session
        self._vocabulary = voice.vocabulary
        self._form = voice.form
        self._request = request
        self._opening = opening
        self._sampler = Sampler(request.sampling)
        self._grammar: Grammar | None = None
        self._constrained = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        names = [function_of(tool)[0] for tool in request.tools]
        self._scanner = CallScanner(self._form, names) if request.tools else None
        self._marks = {
            token
            for mark in (self._form.opening, self._form.closing)
            if request.tools and (token := voice.vocabulary.special.get(mark)) is not None
        }
        self._tail = ""
        self._called = False

    def write(self) -> _Events:
        """Yields text and calls; returns why it ended and the number of tokens."""
        count = 0
        reason: Literal["stop", "length"] = "length"
        try:
            if self._opening:
                self._session.push(self._opening)
                count = len(self._opening)
                yield from self._seen(self._form.opening)
            while count < self._request.max_tokens and self._session.room > 0:
                token = self._sampler.pick(self._session.logits(), self._grammar)
                if token in self._vocabulary.ends:
                    reason = "stop"
                    break
                self._session.push((token,))
                count += 1
                said = self._vocabulary.bytes(token, special=token in self._marks)
                events, stopped = self._until_stop(self._decoder.decode(said))
                yield from events
                if stopped:
                    return "stop", count
            yield from self._rest()
        finally:
            if self._grammar is not None:
                self._grammar.close()
        return ("tool_calls" if self._called and reason == "stop" else reason), count

    def _until_stop(self, text: str) -> tuple[list[Event], bool]:
        """The events of `text`, up to a stop sequence; what may be the beginning of one is held back."""
        stops = self._request.stop
        self._tail += text
        ends = [at for stop in stops if (at := self._tail.find(stop)) >= 0]
        if ends and not (self._scanner is not None and self._scanner.body is not None):
            last = self._tail[: min(ends)]
            self._tail = ""
            return [*self._seen(last), *(self._scanner.finish() if self._scanner else [])], True
        keep = held_back(self._tail, stops)
        said, self._tail = self._tail[: len(self._tail) - keep], self._tail[len(self._tail) - keep :]
        return self._seen(said), False

    def _rest(self) -> list[Event]:
        events = self._seen(self._tail + self._decoder.decode(b"", True))
        if self._scanner is not None:
            more = self._scanner.finish()
            self._called = self._called or any(not isinstance(event, Text) for event in more)
            events += more
        return events

    def _seen(self, text: str) -> list[Event]:
        if self._scanner is None:
            return [Text(text)] if text else []
        events = self._scanner.feed(text) if text else []
        self._called = self._called or any(not isinstance(event, Text) for event in events)
        if self._scanner.body is None:
            self._drop_grammar()
        elif not self._constrained:
            self._constrained = True
            self._constrain(self._scanner.body)
        return events

    def _drop_grammar(self) -> None:
        self._constrained = False
        if self._grammar is not None:
            self._grammar.close()
            self._grammar = None

    def _constrain(self, body: str) -> None:
        """Force what follows to be a call, as far as what was written already fits one."""
        for strict in (True, False):
            try:
                grammar = Grammar(self._vocabulary, call_grammar(self._form, self._request.tools, strict=strict))
            except ValueError:
                continue
            for token in self._vocabulary.text(body):
                if not grammar.allows(token):
                    grammar.close()
                    return
                grammar.accept(token)
            self._grammar = grammar
            return
