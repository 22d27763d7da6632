"""One llama.cpp context: sequences of tokens in its memory, computed together in batches.

It knows nothing of tenants, replies or fairness. To be used by one thread only, but for `abort`.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

import numpy as np
import numpy.typing as npt
from sartor.errors import ModelError

from sartor_plugins.llama.engine.saved import Saved
from sartor_plugins.llama.engine.weights import Adapter, Weights
from sartor_plugins.llama.native import AbortFlag, floats, heard, lib, listen

__all__ = ["EVEN", "Context", "Failed", "Full", "Part", "Rows", "Sizes", "Stopped"]

Rows = npt.NDArray[np.float32]
"""Logits of several places: one row for each, one column for each token of the vocabulary."""

_NO_ROWS: Rows = np.zeros((0, 0), np.float32)
_Pointer = NewType("_Pointer", int)
_NUMBERS_OF_LOGITS = 16_000_000
"""Logits that one batch may have: 64 MB."""
_GAP = 4
"""Sequences that may lie between two of a batch, each with a room of its own, and be computed with it for nothing."""
EVEN = 8
"""Tokens by which two parts of a batch may differ, where each sequence has a room of its own, and be computed at once:
the shorter one is filled up."""


class Stopped(Exception):
    """The computation was stopped by the abort flag."""


class Full(Exception):
    """There is no room for the batch in the memory."""


class Failed(ModelError):
    """The library failed in the middle: what lies in its memory is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a context is made."""

    cells: int
    """Tokens that all sequences may have together; what sequences share counts once."""
    sequences: int
    batch: int = 512
    """Tokens of a batch."""
    threads: int = 1
    apart: bool = False
    """Whether each sequence has a room of its own, an equal part of `cells`, and shares nothing."""

    @property
    def room(self) -> int:
        """Tokens that one sequence may have."""
        return self.cells // self.sequences if self.apart else self.cells


@dataclass(frozen=True, slots=True)
class Part:
    """What a batch computes of one place of one or several sequences."""

    sequences: tuple[int, ...]
    start: int
    """The position of the first token."""
    tokens: Sequence[int]
    rows: int = 1
    """For how many tokens at the end logits are wanted, those of `filling` left out."""
    filling: int = 0
    """Tokens behind the others that only make parts equally long."""


class Context:
    """A context with sequences numbered from 0.

    Where they lie `apart`, the library computes at once those whose numbers follow one another, and of those as many
    tokens as the shortest part has; then the rest. So a batch runs best on neighbours.
    """

    def __init__(self, weights: Weights, sizes: Sizes) -> None:
        """Raises `ModelError` when there is no memory for it."""
        self.sizes = sizes
        self.abort = AbortFlag()
        self._vocabulary: int = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(weights.model))
        self.most_rows = max(1, min(sizes.batch, _NUMBERS_OF_LOGITS // self._vocabulary))
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = sizes.cells
        parameters.n_batch = parameters.n_ubatch = sizes.batch
        parameters.n_seq_max = sizes.sequences + (not sizes.apart)  # the last one is for padding
        parameters.n_outputs_max = max(self.most_rows, sizes.sequences + 1)
        parameters.kv_unified = not sizes.apart
        parameters.swa_full = True
        parameters.n_threads = parameters.n_threads_batch = sizes.threads
        parameters.abort_callback = self.abort.callback
        parameters.abort_callback_data = self.abort.data
        parameters.no_perf = True
        listen()
        self._context: _Pointer | None = lib.llama_init_from_model(weights.model, parameters)
        if not self._context:
            raise ModelError(
                f"llama.cpp cannot make room for {sizes.cells} tokens: {heard() or 'it does not say why'}",
                where=str(weights.path),
                remedy="Set `rooms`, `cells` or `context` lower, or free memory.",
            )
        self._memory = lib.llama_get_memory(self._context)
        self._batch = _Batch(sizes.batch, sizes.sequences + 1)
        self._adapter: Adapter | None = None
        self._place = (0, 0)
        self._all_rows = _NO_ROWS
        self._moved: Saved = np.empty(0, np.uint8)

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        if self._context:
            lib.llama_free(self._context)
            self._context = None

    def use(self, adapter: Adapter | None) -> None:
        """Compute with `adapter` from now on. Raises `ModelError`."""
        if adapter is self._adapter:
            return
        given = [adapter] if adapter is not None else []
        pointers = (lib.llama_adapter_lora_p_ctypes * 1)(*(one.pointer for one in given))
        scales = (ctypes.c_float * 1)(*(one.scale for one in given))
        listen()
        if lib.llama_set_adapters_lora(self._context, pointers, len(given), scales):
            raise ModelError(f"llama.cpp cannot use the adapter: {heard() or 'it does not say why'}")
        self._adapter = adapter

    def copy(self, source: int, targets: Sequence[int], length: int) -> bool:
        """Let `targets`, which are empty, begin with the first `length` tokens of `source`. Nothing is moved, unless
        they lie apart; false where the library cannot."""
        if not self.sizes.apart:
            for target in targets:
                lib.llama_memory_seq_cp(self._memory, source, target, 0, length)
            return True
        size = self.size_of(source)
        if size > len(self._moved):
            self._moved = np.empty(size, np.uint8)
        written = lib.llama_state_seq_get_data(self._context, _bytes(self._moved), size, source)
        for target in targets:
            if not written or not self.load(target, self._moved[:written]):
                return False
            self.trim(target, length)
        return True

    def trim(self, sequence: int, length: int) -> None:
        """Forget what lies behind the first `length` tokens of `sequence`.

        Raises `ModelError` for models that cannot forget a part.
        """
        if not lib.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise ModelError("this kind of model cannot forget a part of what it has read")

    def drop(self, sequence: int) -> None:
        """Forget `sequence`; tokens that others share stay."""
        lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Forget everything, after a failure."""
        lib.llama_memory_clear(self._memory, False)

    def save(self, sequence: int) -> Saved | None:
        """What the memory holds of `sequence`, to `load` later; None where the library cannot tell."""
        saved = np.empty(self.size_of(sequence), np.uint8)
        written = lib.llama_state_seq_get_data(self._context, _bytes(saved), len(saved), sequence)
        return saved[:written] if written else None

    def size_of(self, sequence: int) -> int:
        """Bytes of what `save` would give."""
        return int(lib.llama_state_seq_get_size(self._context, sequence))

    def load(self, sequence: int, saved: Saved) -> bool:
        """Fill `sequence`, which is empty, with what `save` gave; false where there is no room."""
        listen()
        return bool(lib.llama_state_seq_set_data(self._context, _bytes(saved), len(saved), sequence))

    def between(self, sequences: Sequence[int]) -> list[int]:
        """Sequences that lie between those of a batch that has a token for each, where it is faster to compute a token
        of these with it."""
        if not self.sizes.apart:
            return []
        numbers = sorted(sequences)
        return [
            number
            for last, following in itertools.pairwise(numbers)
            if following - last - 1 <= _GAP
            for number in range(last + 1, following)
        ]

    def compute(self, parts: Sequence[Part], padding: int = 0) -> list[Rows]:
        """Compute `parts`, together at most `sizes.batch` tokens; for each, its rows of logits. `padding`: tokens that
        are computed beside them and forgotten, those for sequences `between` included.

        They are the library's own memory: valid until the next call. Raises `Stopped` when the abort flag is up,
        `Full` when there is no room, `Failed` when it fails. What was computed until then is to be trimmed by the
        caller.
        """
        apart = self.sizes.apart and len(parts) > 1
        pads = self._pads([number for part in parts for number in part.sequences], padding) if padding else []
        even = self._evened(parts, padding) if apart else parts
        order = sorted([*even, *pads], key=lambda part: part.sequences) if apart or pads else even
        self._batch.fill(order)
        listen()
        code = lib.llama_decode(self._context, self._batch.native)
        for pad in pads:
            lib.llama_memory_seq_rm(self._memory, pad.sequences[0], pad.start, -1)
        for given, part in zip(parts, even, strict=True):
            if part is not given:
                self.trim(given.sequences[0], given.start + len(given.tokens))
        if code == 2:
            raise Stopped
        if code == 1:
            raise Full
        if code:
            raise Failed(f"llama.cpp failed to compute (code {code}): {heard() or 'it does not say why'}")
        rows = dict(zip(map(id, order), self._rows([part.rows for part in order]), strict=True))
        return [rows[id(part)] for part in even]

    def _evened(self, parts: Sequence[Part], padding: int) -> list[Part]:
        """`parts`, of which those that are little shorter than the longest are filled up."""
        longest = max(len(part.tokens) for part in parts)
        room = self.sizes.batch - padding - sum(len(part.tokens) for part in parts)
        even: list[Part] = []
        for part in parts:
            lacks = longest - len(part.tokens)
            if longest > 2 * EVEN and 0 < lacks <= min(EVEN, room):
                room -= lacks
                filled = [*part.tokens, *[0] * lacks]
                even.append(Part(part.sequences, part.start, filled, part.rows, part.filling + lacks))
            else:
                even.append(part)
        return even

    def _pads(self, sequences: Sequence[int], count: int) -> list[Part]:
        """`count` tokens beside those of `sequences`."""
        if not self.sizes.apart:
            return [Part((self.sizes.sequences,), 0, [0] * count, rows=0)]
        first, last = min(sequences), max(sequences)
        outside = [*range(last + 1, self.sizes.sequences), *range(first - 1, -1, -1)]
        numbers = [*self.between(sequences), *outside][:count]
        starts = [lib.llama_memory_seq_pos_max(self._memory, number) + 1 for number in numbers]
        return [
            Part((number,), start, [0], rows=0)
            for number, start in zip(numbers, starts, strict=True)
            if start < self.sizes.room
        ]

    def _rows(self, counts: Sequence[int]) -> list[Rows]:
        total = sum(counts)
        if not total:
            return [_NO_ROWS for _ in counts]
        pointer = lib.llama_get_logits(self._context)
        if not pointer:
            raise Failed("llama.cpp gave no logits")
        place = ctypes.addressof(pointer.contents), total
        if place != self._place:  # it rarely moves
            self._place = place
            self._all_rows = floats(pointer, total * self._vocabulary).reshape(total, self._vocabulary)
        rows = self._all_rows
        ends = list(itertools.accumulate(counts))
        return [rows[end - count : end] for count, end in zip(counts, ends, strict=True)]


def _bytes(saved: Saved) -> object:
    return saved.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


class _Batch:
    """The library's batch, filled through arrays: a loop over ctypes fields would take milliseconds."""

    def __init__(self, size: int, sequences: int) -> None:
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._counts = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._sequences = np.zeros((size, sequences), np.int32)
        starts = self._sequences.ctypes.data + np.arange(size, dtype=np.uint64) * np.uint64(4 * sequences)
        self._pointers = starts.astype(np.uint64)
        self.native = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=self._position.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, parts: Sequence[Part]) -> None:
        at = 0
        for part in parts:
            end = at + len(part.tokens)
            self._token[at:end] = part.tokens
            self._position[at:end] = np.arange(part.start, part.start + len(part.tokens))
            self._counts[at:end] = len(part.sequences)
            self._sequences[at:end, : len(part.sequences)] = part.sequences
            wanted = end - part.filling
            self._wanted[at:end] = 0
            self._wanted[wanted - part.rows : wanted] = 1
            at = end
        self.native.n_tokens = at
