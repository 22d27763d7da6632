"""One reply from its request to its end: the path that every call of the model takes."""

from __future__ import annotations

import codecs
import itertools
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sartor.errors import ModelError
from sartor.values import Choices, JSONValue

from sartor_plugins.llama.choice import Chooser
from sartor_plugins.llama.engine.jobs import Plan
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.track import Need, Track
from sartor_plugins.llama.grammar import Grammar, call_grammar
from sartor_plugins.llama.prompt import Line
from sartor_plugins.llama.sampling import Sampler, Sampling
from sartor_plugins.llama.scoring import likelihoods, logs_of_sum
from sartor_plugins.llama.settings import ChoiceMethod
from sartor_plugins.llama.template import ChatTemplate
from sartor_plugins.llama.thoughts import Thoughts
from sartor_plugins.llama.toolcalls import CallFormat, CallScanner, Event, Text, function_of, held_back
from sartor_plugins.llama.trie import Candidate, build
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Compared", "Ended", "Request", "Said", "Voice"]

_LONGEST = 32
"""Characters of a token, on average, beyond which a prompt cannot fit."""
_PUBLIC = 64
"""Public texts whose tokens are remembered."""
_STALE = 60.0
"""Seconds after which a beginning that no longer fits is made again: a template may tell the date."""
_TAIL = 24
"""Tokens at the end of a prompt that show whether a thought has begun."""
_LEAST_PUBLIC = 16
"""Tokens below which it is not worth it."""
_ENDS = ("\n0", " a", ".")
"""What may follow a public text: tokens that hold some of it are not public."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the model."""

    lines: tuple[Line, ...]
    tools: tuple[JSONValue, ...] = ()
    """In OpenAI's form."""
    must_call: bool = False
    choices: Choices | None = None
    options: tuple[str, ...] = ()
    """Texts that are only compared: nothing is said, and `Compared` tells how likely each of them is."""
    grammar: str = ""
    """GBNF that the reply must fit."""
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 512
    """Tokens of a freely written reply, or a tool call; a chosen text is never cut."""
    stop: tuple[str, ...] = ()
    scope: str = ""
    """The tenant: only its requests may use what this one leaves; empty: none may."""
    share: float = 1.0
    """The tenant's share of the machine, beside others."""
    adapter: str = ""
    """The name of a LoRA adapter; empty: none."""
    public: str = ""
    """With what the first line begins that is the same for every tenant, and may be computed once for all."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The log-probability of each of a request's options, as the whole reply."""

    scores: tuple[float, ...]


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
    drafted: int = 0
    """Tokens that were computed as drafts, and in `accepted` those of them that the reply took."""
    accepted: int = 0


Said = Event | Compared | Ended
"""What comes of a request, piece by piece."""

_Events = Generator[Event | Compared | Need, None, tuple[Reason, int]]


class Voice:
    """Speaks for one model. It computes nothing itself: where it must know what follows, it yields a `Need`."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        form: CallFormat,
        method: ChoiceMethod,
        size: int,
        *,
        thinks: bool = False,
    ) -> None:
        """`size`: tokens that the prompt and the reply may have together; `thinks`: whether the model may think before
        it replies freely."""
        self.vocabulary = vocabulary
        self.template = template
        self.form = form
        self.size = size
        self.thought_tokens = template.thoughts.tokens(vocabulary)
        self.last_tokens = template.thoughts.last(vocabulary)
        self._method = method
        self._thinks = thinks
        self._public: dict[tuple[str, str, bool], tuple[list[int], float]] = {}
        """The beginnings that public texts make, and when (`time.monotonic`) that was found out."""

    def plan(self, request: Request) -> Plan:
        """What a reply to `request` needs. Raises `ModelError` when the prompt does not fit."""
        fixed = bool(request.options or request.grammar)
        thinks = self._thinks and not (fixed or request.choices or request.must_call)
        pieces = self.template.render(request.lines, request.tools, thinks=thinks, calls=not fixed)
        length = sum(len(piece.text) for piece in pieces)
        if length > self.size * _LONGEST:  # tokenizing it would keep the others waiting
            raise _too_long(f"{length} characters", self.size)
        prompt = self.vocabulary.encode(pieces)
        if len(prompt) >= self.size:
            raise _too_long(f"{len(prompt)} tokens", self.size)
        texts = request.options or (request.choices.texts if request.choices else ())
        chosen = [len(self.vocabulary.text(text)) for text in texts] or [0]
        at_most = request.choices.at_most if request.choices else 1
        return Plan(
            prompt,
            Scope(request.scope, request.adapter, alone=None if request.scope else object()),
            reply=max(request.max_tokens, at_most * (max(chosen) + 1)),
            size=self.size,
            uncut=at_most * (max(chosen) + 1) if texts else 0,
            branches=sum(chosen) if request.options or self._method != "trie" else 0,
            drafts=not texts,
            public=self._shared(request, prompt, thinks) if request.public and not request.adapter else 0,
        )

    def reply(self, request: Request, track: Track) -> Generator[Said | Need, None, None]:
        """The events of a reply; the last one is `Ended`. Closing the iterator ends the work."""
        began = time.monotonic()
        first: float | None = None
        events = self._events(request, track)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                reason, generated = end.value
                break
            if first is None and not isinstance(event, Need):
                first = time.monotonic() - began
            yield event
        first = time.monotonic() - began if first is None else first
        yield Ended(reason, track.prompt, track.cached, generated, first, track.drafted, track.accepted)

    def _events(self, request: Request, track: Track) -> _Events:
        if request.options:
            yield Compared((yield from self._compare(request.options, track)))
            return "stop", 0
        opening = self.vocabulary.mark(self.form.opening) if request.tools else []
        begun = bool(request.tools) and request.must_call
        if request.choices is not None and not begun:
            lead = self.vocabulary.mark(self.template.thoughts.lead) if opening else ()
            chooser = Chooser(track, self.vocabulary, request.choices, self._method).choose(opening, lead)
            while True:
                try:
                    said = next(chooser)
                    yield Text(said) if isinstance(said, str) else said
                except StopIteration as end:
                    chosen = end.value
                    break
            if not chosen.call:
                return "stop", chosen.tokens
            begun, opening = True, opening[chosen.opened :]
        return (yield from _Writer(self, request, track, opening if begun else []).write())

    def _shared(self, request: Request, prompt: Sequence[int], thinks: bool = False) -> int:
        """How many tokens at the start of `prompt` are the same for every tenant: all of the beginning that its public
        text makes, or none."""
        text, now = (request.lines[0].role, request.public, thinks), time.monotonic()
        beginning, made = self._public.get(text, ([], -math.inf))
        if (not beginning or prompt[: len(beginning)] != beginning) and now - made > _STALE:
            beginning = self._beginning(*text)
            self._public.pop(text, None)
            self._public[text] = beginning, now
            if len(self._public) > _PUBLIC:
                del self._public[next(iter(self._public))]
        same = prompt[: len(beginning)] == beginning
        return len(beginning) if same and len(beginning) >= _LEAST_PUBLIC else 0

    def thoughts(self, request: Request, track: Track) -> Thoughts:
        """For the reply of `track`, which has not begun."""
        marks, tail = self.template.thoughts, ""
        if marks.channels or self.template.begins_thoughts:
            tokens = (*track.past, *track.pending)[-_TAIL:]
            tail = b"".join(self.vocabulary.bytes(token, special=True) for token in tokens).decode("utf-8", "replace")
        thoughts = Thoughts(marks, tail, calls=bool(request.tools))
        if request.grammar:
            thoughts.finish()
        return thoughts

    def _beginning(self, role: str, text: str, thinks: bool = False) -> list[int]:
        """The tokens that a prompt begins with whose first line does with `text`, whatever follows; none where the
        template renders no such prompt. They are made without anything of a tenant."""
        try:
            made = [
                self.vocabulary.encode(
                    self.template.render([Line(role, f"{text}{end}"), Line("user", end)], thinks=thinks)
                )
                for end in _ENDS
            ]
        except ModelError:
            return []
        same = itertools.takewhile(lambda tokens: len({*tokens}) == 1, zip(*made, strict=False))
        return [token for token, *_ in same]

    def _compare(self, options: Sequence[str], track: Track) -> Generator[Need, None, tuple[float, ...]]:
        """The log-probability of each option and of an end behind it, computed side by side."""
        tokens = [tuple(self.vocabulary.text(option)) for option in options]
        ended = [(*told, end) for told in tokens for end in self.vocabulary.ends]
        root = build(Candidate(number, "", told, 1.0) for number, told in enumerate(ended))
        found = yield from likelihoods(track, root)
        first = {told: number for number, told in reversed(list(enumerate(ended)))}
        return tuple(logs_of_sum([sum(found[first[(*told, end)]]) for end in self.vocabulary.ends]) for told in tokens)


def _too_long(length: str, size: int) -> ModelError:
    return ModelError(
        f"the prompt has {length}, the model's context {size} tokens",
        remedy="Set `context` of the model higher, or give the bot fewer passages or a shorter history.",
    )


class _Writer:
    """Writes one reply freely, or a tool call once one has begun."""

    def __init__(self, voice: Voice, request: Request, track: Track, opening: Sequence[int]) -> None:
        self._track = track
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
            for mark in self._form.marks
            if request.tools and (token := voice.vocabulary.special.get(mark)) is not None
        }
        self._thoughts = voice.thoughts(request, track)
        self._thought_tokens = voice.thought_tokens
        self._last_tokens = voice.last_tokens
        self._tail = ""
        self._called = False

    def write(self) -> _Events:
        """Yields text and calls; returns why it ended and the number of tokens."""
        count = 0
        reason: Literal["stop", "length"] = "length"
        try:
            if self._request.grammar and not self._opening:
                self._grammar = self._given_grammar()
            if self._opening:
                self._track.push(self._opening)
                count = len(self._opening)
                self._thoughts.finish()
                self._begin_call()
            while count < self._request.max_tokens and self._track.room > 0:
                token = self._sampler.pick((yield from self._track.logits()), self._grammar)
                said_all = token in self._last_tokens and (self._thoughts.over or self._thoughts.final)
                if token in self._vocabulary.ends or said_all:
                    reason = "stop"
                    break
                self._track.push((token,))
                count += 1
                shown = token in self._marks or (not self._thoughts.over and token in self._thought_tokens)
                said = self._decoder.decode(self._vocabulary.bytes(token, special=shown))
                events, stopped = self._until_stop(self._thoughts.feed(said))
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
        said = self._thoughts.feed(self._decoder.decode(b"", True)) + self._thoughts.finish()
        events, stopped = self._until_stop(said)
        if stopped:
            return events
        events += self._seen(self._tail)
        if self._scanner is not None:
            more = self._scanner.finish()
            self._called = self._called or any(not isinstance(event, Text) for event in more)
            events += more
        return events

    def _seen(self, text: str) -> list[Event]:
        if self._scanner is None or (self._thoughts.final and self._scanner.body is None):
            return [Text(text)] if text else []
        events = self._scanner.feed(text) if text else []
        self._called = self._called or any(not isinstance(event, Text) for event in events)
        if self._scanner.body is None:
            self._drop_grammar()
        elif not self._constrained:
            self._constrained = True
            self._constrain(self._scanner.body)
        return events

    def _begin_call(self) -> None:
        """The opening of a call stands there already."""
        assert self._scanner is not None
        self._scanner.begin()
        self._constrained = True
        self._constrain(self._scanner.body or "")

    def _given_grammar(self) -> Grammar:
        try:
            return Grammar(self._vocabulary, self._request.grammar)
        except ValueError as error:
            raise ModelError(str(error), remedy="Check the GBNF; its first rule must be `root`.") from error

    def _drop_grammar(self) -> None:
        self._constrained = False
        if self._grammar is not None:
            self._grammar.close()
            self._grammar = None

    def _constrain(self, body: str) -> None:
        """Force what follows to be a call, as far as what was written already fits one."""
        form = self._scanner.form if self._scanner is not None else self._form
        for strict in (True, False):
            try:
                grammar = Grammar(self._vocabulary, call_grammar(form, self._request.tools, strict=strict))
            except ValueError:
                continue
            for token in self._vocabulary.text(body):
                if not grammar.allows(token):
                    grammar.close()
                    return
                grammar.accept(token)
            self._grammar = grammar
            return
