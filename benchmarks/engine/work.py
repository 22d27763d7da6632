"""What is asked of each candidate, and what it told."""

from __future__ import annotations

import itertools
import random
import string
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

__all__ = ["Ask", "Candidate", "Setup", "Told", "Words", "decode_rate", "total_rate"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    tenant: int
    system: str
    text: str
    new: int
    """Tokens of each reply."""
    later: tuple[str, ...] = ()
    """What the user says after each reply."""
    past: tuple[tuple[str, str], ...] = ()
    """What the user said before, and what the reply was."""
    public: str = ""
    """With what `system` begins that is the same for every tenant."""


@dataclass(slots=True)
class Told:
    """One reply: when each piece of it came (`time.perf_counter`), and the counts."""

    began: float
    pieces: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Characters of each piece, which may be of several tokens."""
    text: str = ""
    prompt: int = 0
    cached: int = 0
    new: int = 0
    drafted: int = 0
    accepted: int = 0

    def add(self, text: str) -> None:
        """A piece came."""
        self.pieces.append(time.perf_counter())
        self.sizes.append(len(text))
        self.text += text

    def written(self, since: float, until: float) -> float:
        """About how many tokens came after `since` until `until`: as many as of its characters."""
        between = sum(size for at, size in zip(self.pieces, self.sizes, strict=True) if since < at <= until)
        return self.new * between / sum(self.sizes)

    @property
    def first(self) -> float:
        """Seconds to the first piece."""
        return self.pieces[0] - self.began

    @property
    def whole(self) -> float:
        """Seconds to the last piece."""
        return self.pieces[-1] - self.began


@dataclass(frozen=True, slots=True)
class Setup:
    """The same for all candidates."""

    path: str
    threads: int
    cells: int
    """Tokens in the memory of a context."""


class Candidate(Protocol):
    """Something that answers."""

    async def start(self) -> None:
        """Load the model."""

    async def answer(self, asks: Sequence[Ask]) -> list[Told]:
        """Answer requests that come at once, streaming; what is said later, after the reply before."""

    async def close(self) -> None:
        """Free everything."""


class Words:
    """Texts of a given number of tokens, and prompts as tokens, by the file's own tokenizer and chat template."""

    def __init__(self, path: str) -> None:
        self._llama = Llama(path, vocab_only=True, verbose=False)
        self._format = Jinja2ChatFormatter(
            self._llama.metadata["tokenizer.chat_template"],
            eos_token=self._spelling(self._llama.token_eos()),
            bos_token=self._spelling(self._llama.token_bos()),
        )

    def prompt(self, ask: Ask) -> list[int]:
        """The tokens of the whole prompt."""
        told = [{"role": "system", "content": ask.system}] if ask.system else []
        for question, reply in ask.past:
            told += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        formatted = self._format(messages=[*told, {"role": "user", "content": ask.text}])  # type: ignore[list-item]
        return self._llama.tokenize(formatted.prompt.encode(), add_bos=False, special=True)

    def text(self, tokens: int, seed: int) -> str:
        """A text of random words that has about so many tokens."""
        words = self._words(seed)
        text = next(words)
        while (left := tokens - self._count(text)) > 0:
            text = " ".join([text, *itertools.islice(words, max(1, left // 2))])
        while self._count(text) > tokens:
            text = text[:-1]
        return text.strip()

    def ask(self, tenant: int, seed: int, prompt: int, new: int, system: str = "") -> Ask:
        """A request whose prompt has about `prompt` tokens beside the system message's."""
        around = len(self.prompt(Ask(tenant, system, "", new))) - (self._count(system) if system else 0)
        return Ask(tenant, system, self.text(prompt - around, seed), new)

    def _words(self, seed: int) -> Iterator[str]:
        """Random words, none of them twice."""
        made, seen = random.Random(seed), set[str]()
        while True:
            word = "".join(made.choices(string.ascii_lowercase, k=3))
            if word not in seen:
                seen.add(word)
                yield word

    def _count(self, text: str) -> int:
        return len(self._llama.tokenize(text.encode(), add_bos=False))

    def _spelling(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode() if token >= 0 else ""


def decode_rate(told: Sequence[Told]) -> float:
    """Tokens a second while all of `told` are written: from the latest first piece to the earliest last one, or to the
    last of all where they came one after the other."""
    since, until = max(one.pieces[0] for one in told), min(one.pieces[-1] for one in told)
    if until <= since:
        until = max(one.pieces[-1] for one in told)
    return sum(one.written(since, until) for one in told) / (until - since)


def total_rate(told: Sequence[Told]) -> float:
    """New tokens a second from the first request to the last piece, prompts read meanwhile."""
    return sum(one.new for one in told) / (max(one.pieces[-1] for one in told) - min(one.began for one in told))
