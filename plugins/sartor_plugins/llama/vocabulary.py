"""A model's vocabulary: text to tokens such that nothing a user writes becomes a control token."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sartor.errors import ModelError

from sartor_plugins.llama.native import lib

__all__ = ["Piece", "Vocabulary"]


_WORD = re.compile(r"[A-Za-z0-9_.-]*")
"""Control tokens with such a spelling do not count in templates, which show plain words of others as their own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt. Only in a `trusted` one (the template's own text) do control tokens count."""

    text: str
    trusted: bool = False


_Said = bytes


class Vocabulary:
    """Tokens of one model. Reads the model only, but belongs to its owner thread all the same."""

    def __init__(self, model: object) -> None:
        self._vocab = lib.llama_model_get_vocab(model)
        self.size: int = lib.llama_vocab_n_tokens(self._vocab)
        self.special: dict[str, int] = {}
        """Spellings of control and user-defined tokens, and their numbers."""
        self.control: set[int] = set()
        self._before: set[int] = set()
        self._after: set[int] = set()
        self._scan()
        likely = {*self.special.values(), lib.llama_vocab_eos(self._vocab), lib.llama_vocab_eot(self._vocab)}
        ends = sorted(token for token in likely if token >= 0 and lib.llama_vocab_is_eog(self._vocab, token))
        self.ends: tuple[int, ...] = tuple(ends)
        """Tokens that end a reply."""
        spellings = sorted(filter(None, self.special), key=len, reverse=True)
        self._pattern = _any_of(spellings)
        self._marks = _any_of([text for text in spellings if not _WORD.fullmatch(text)])
        self._structural: set[int] = set()
        self._said: dict[tuple[int, bool], _Said] = {}
        self._pads_space = self._tokenize("a") != self._tokenize("\na")[len(self._tokenize("\n")) :]

    def _scan(self) -> None:
        marked = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        for token in range(self.size):
            attributes = lib.llama_vocab_get_attr(self._vocab, token)
            if attributes & marked:
                spelling = (lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")
                self.special[spelling] = token
                if attributes & lib.LLAMA_TOKEN_ATTR_CONTROL:
                    self.control.add(token)
                if attributes & lib.LLAMA_TOKEN_ATTR_LSTRIP:
                    self._before.add(token)
                if attributes & lib.LLAMA_TOKEN_ATTR_RSTRIP:
                    self._after.add(token)

    def reserve(self, *sources: str) -> None:
        """Treat the user-defined tokens that occur in `sources` (the chat template, the marks of a tool call)
        like control tokens: texts of others cannot form them."""
        for spelling, token in self.special.items():
            if spelling.strip() and any(spelling in source for source in sources):
                self._structural.add(token)

    @property
    def start(self) -> str:
        """The spelling of the token that begins a prompt; empty where the model has none."""
        return self._spelling(lib.llama_vocab_bos(self._vocab))

    @property
    def end(self) -> str:
        """The spelling of the end-of-text token; empty where the model has none."""
        return self._spelling(lib.llama_vocab_eos(self._vocab))

    def encode(self, pieces: Iterable[Piece]) -> list[int]:
        """The tokens of a prompt. In pieces that are not trusted, spellings of control tokens stay plain text.

        Neighbouring plain text is tokenized together, so that the tokens are those of the whole text.
        """
        tokens: list[int] = []
        plain = ""
        strip = False
        for part in self._parts(pieces):
            if isinstance(part, str):
                plain += part.lstrip() if strip and not plain else part
                continue
            if part in self._before:
                plain = plain.rstrip()
            tokens += self._plain(plain, follows=bool(tokens))
            tokens.append(part)
            plain, strip = "", part in self._after
        tokens += self._plain(plain, follows=bool(tokens))
        start = lib.llama_vocab_bos(self._vocab)
        if start >= 0 and lib.llama_vocab_get_add_bos(self._vocab) and tokens[:1] != [start]:
            tokens.insert(0, start)
        return tokens

    def text(self, text: str) -> list[int]:
        """The tokens of `text` as the continuation of something: no control token, no space put before it."""
        return self._plain(text, follows=True)

    def whole(self, text: str) -> list[int]:
        """The tokens of `text` alone, between those that the model puts before and after a text."""
        return self._tokenize(text, around=True)

    def mark(self, text: str) -> list[int]:
        """The tokens of a mark of ours, such as ``<tool_call>``: special where the model knows it or a part as such."""
        if (token := self.special.get(text)) is not None:
            return [token]
        tokens: list[int] = []
        for part in self._parts([Piece(text, trusted=True)]):
            tokens += self.text(part) if isinstance(part, str) else [part]
        return tokens

    def bytes(self, token: int, *, special: bool = False) -> bytes:
        """What `token` adds to a text; nothing for control tokens, unless `special`."""
        said = self._said.get((token, special))
        if said is None:
            said = self._said[token, special] = self._piece(token, special)
        return said

    def _piece(self, token: int, special: bool) -> _Said:
        size = 32
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    @property
    def pointer(self) -> object:
        """The library's own object, for samplers."""
        return self._vocab

    def _spelling(self, token: int) -> str:
        if token < 0:
            return ""
        return (lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def _parts(self, pieces: Iterable[Piece]) -> Iterator[str | int]:
        for piece in pieces:
            if not piece.trusted or self._marks is None:
                yield piece.text
                continue
            at = 0
            for match in self._marks.finditer(piece.text):
                yield piece.text[at : match.start()]
                yield self.special[match.group()]
                at = match.end()
            yield piece.text[at:]

    def _plain(self, text: str, *, follows: bool) -> list[int]:
        if not text:
            return []
        tokens = self._continued(text) if follows else self._tokenize(text)
        if not self._forbidden(tokens):
            return tokens
        tokens = []
        for part in self._broken(text):
            tokens += self._continued(part) if follows or tokens else self._tokenize(part)
        if self._forbidden(tokens):
            raise ModelError("a text forms a control token whichever way it is cut", remedy="Use another model file.")
        return tokens

    def _forbidden(self, tokens: Sequence[int]) -> bool:
        return any(token in self.control or token in self._structural for token in tokens)

    def _broken(self, text: str) -> Iterator[str]:
        """`text` in stretches, cut inside each spelling of a special token."""
        start = at = 0
        while self._pattern is not None and (match := self._pattern.search(text, at)):
            at = match.start() + 1
            if len(match.group()) > 1 and self.special[match.group()] in self.control | self._structural:
                yield text[start:at]
                start = at
        yield text[start:]

    def _continued(self, text: str) -> list[int]:
        """Like `_tokenize`, without the space that some tokenizers put before a text."""
        if not self._pads_space:
            return self._tokenize(text)
        head = self._tokenize("\n")
        tokens = self._tokenize("\n" + text)
        return tokens[len(head) :] if tokens[: len(head)] == head else self._tokenize(text)

    def _tokenize(self, text: str, *, around: bool = False) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        buffer = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocab, data, len(data), buffer, room, around, False)
        if count < 0:
            raise ModelError("the model's tokenizer failed on a text", remedy="Use another model file.")
        return list(buffer[:count])


def _any_of(texts: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, texts))) if texts else None
