"""The header of a GGUF file: what it says about the model, read without llama.cpp.

The format is described in llama.cpp's `docs/gguf.md`. Only what is needed is kept: single values by name, and of the
tensors their number of weights by type. Lists, such as the vocabulary, are passed over.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sartor.errors import ModelError

__all__ = ["FILE_TYPES", "TENSOR_TYPES", "Header", "read_header"]

FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip
"""The names of `general.file_type`: how the weights of a whole file were quantized."""

TENSOR_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
"""The names of the types of single tensors."""

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_RANK = 4
_MOST = 1 << 31
_LONGEST_KEPT = 1 << 16
_CHUNK = 1 << 20

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself."""

    values: Mapping[str, Scalar]
    """The single values, by name; long texts and lists are left out."""
    weights: Mapping[str, int]
    """How many numbers the tensors hold, by type."""

    def joined(self, others: Iterable[Header]) -> Header:
        """The header of a split model, of which this is the first part."""
        weights = Counter(self.weights)
        for other in others:
            weights.update(other.weights)
        return Header(self.values, weights)

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def kind(self) -> str:
        """``chat``, ``embeddings``, ``ranking``, ``adapter``, or the file's own word for something else."""
        said = str(self.values.get("general.type", "model"))
        if said != "model":
            return said
        pooling = self.values.get(f"{self.architecture}.pooling_type", 0)
        if pooling == _RANK:
            return "ranking"
        encodes = self.values.get(f"{self.architecture}.attention.causal", True) is False
        return "embeddings" if pooling or encodes else "chat"

    @property
    def parameters(self) -> int:
        return sum(self.weights.values())

    @property
    def quantization(self) -> str:
        """How the weights are stored: what the file says, or else the type that most of them have."""
        said = FILE_TYPES.get(_whole(self.values.get("general.file_type")) or 0, "")
        most = max(self.weights, key=lambda name: self.weights[name], default="")
        return said if "general.file_type" in self.values and said else most

    @property
    def context(self) -> int | None:
        return _whole(self.values.get(f"{self.architecture}.context_length"))


def read_header(path: Path) -> Header:
    """Read the header of the GGUF file `path`. Raises `ModelError` naming the file."""
    try:
        with path.open("rb") as file:
            return _read(_Cursor(file, path.stat().st_size))
    except OSError as error:
        raise ModelError(f"the model cannot be read: {error.strerror or error}", where=str(path)) from error
    except _Malformed as error:
        remedy = "Download it again; `sartor model verify` compares its hash with the pinned one."
        raise ModelError(f"the file is no sound GGUF: {error}", where=str(path), remedy=remedy) from error


class _Malformed(Exception):
    """The bytes are not what the format asks for."""


class _Cursor:
    """Reads a file forwards, a large piece at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._piece = b""
        self._at = 0

    def check(self, count: int) -> None:
        if count > len(self._piece) - self._at + self._left:
            raise _Malformed("it ends in the middle of its header")

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._piece):
            self.check(count)
            more = self._file.read(max(_CHUNK, count))
            self._left -= len(more)
            self._piece = self._piece[self._at :] + more
            self._at, end = 0, count
            if end > len(self._piece):
                raise _Malformed("it ends in the middle of its header")
        taken = self._piece[self._at : end]
        self._at = end
        return taken

    def skip(self, count: int) -> None:
        self.check(count)
        while count > 0:
            step = min(count, _CHUNK)
            self.take(step)
            count -= step

    def skip_texts(self, count: int) -> None:
        """Pass over so many texts: a vocabulary has hundreds of thousands, so this is one tight loop."""
        length_at = struct.Struct("<Q").unpack_from
        piece, at, end = self._piece, self._at, len(self._piece)
        for _ in range(count):
            if at + 8 > end:
                self._at = at
                self.take(8)
                self._at -= 8
                piece, at, end = self._piece, self._at, len(self._piece)
            (length,) = length_at(piece, at)
            at += 8 + length
            if at > end:
                self._at = end
                self.skip(at - end)
                piece, at, end = self._piece, self._at, len(self._piece)
        self._at = at

    def number(self, form: str) -> int:
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(form)))
        return int(value)

    def count(self) -> int:
        found = self.number("Q")
        if found > _MOST:
            raise _Malformed(f"it counts {found} things")
        return found

    def text(self) -> str:
        if (length := self.count()) > _LONGEST_KEPT:
            raise _Malformed(f"a name in it has {length} bytes")
        return self.take(length).decode("utf-8", "replace")


def _read(cursor: _Cursor) -> Header:
    if cursor.take(4) != b"GGUF":
        raise _Malformed("it does not begin with GGUF")
    if (version := cursor.number("I")) not in (2, 3):
        raise _Malformed(f"its version is {version}")
    tensors, pairs = cursor.count(), cursor.count()
    values: dict[str, Scalar] = {}
    for _ in range(pairs):
        name = cursor.text()
        value = _value(cursor, cursor.number("I"))
        if value is not None:
            values[name] = value
    weights: Counter[str] = Counter()
    for _ in range(tensors):
        cursor.skip(cursor.count())
        dimensions = cursor.number("I")
        if dimensions > 4:
            raise _Malformed(f"a tensor has {dimensions} dimensions")
        size = math.prod(cursor.number("Q") for _ in range(dimensions))
        kind = cursor.number("I")
        cursor.skip(8)
        weights[TENSOR_TYPES.get(kind, f"type {kind}")] += size
    return Header(values, weights)


def _value(cursor: _Cursor, kind: int) -> Scalar | None:
    """A value that is kept, or None for one that was passed over."""
    if kind in _SCALARS:
        (number,) = struct.unpack(f"<{_SCALARS[kind]}", cursor.take(struct.calcsize(f"<{_SCALARS[kind]}")))
        assert isinstance(number, bool | int | float)
        return number
    if kind == _STRING:
        length = cursor.count()
        if length > _LONGEST_KEPT:
            cursor.skip(length)
            return None
        return cursor.take(length).decode("utf-8", "replace")
    if kind == _ARRAY:
        inner, count = cursor.number("I"), cursor.count()
        if inner in _SCALARS:
            cursor.skip(count * struct.calcsize(f"<{_SCALARS[inner]}"))
        elif inner == _STRING:
            cursor.skip_texts(count)
        else:
            raise _Malformed(f"a list holds values of type {inner}")
        return None
    raise _Malformed(f"it has a value of type {kind}")


def _whole(value: Scalar | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
