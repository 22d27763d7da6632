"""One llama.cpp context and what it holds: the tokens of the last request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NewType

from sartor.errors import ModelError

from sartor_plugins.llama import machine
from sartor_plugins.llama.native import AbortFlag, Row, floats, heard, lib, listen
from sartor_plugins.llama.settings import FileSettings

__all__ = ["Session", "Stopped", "Weights"]

_Pointer = NewType("_Pointer", int)
_DEFAULT_CONTEXT = 4096
_BATCH = 512
_SMALL = 64 << 20


class Stopped(Exception):
    """The computation was stopped by the abort flag."""


class Weights:
    """A loaded model file."""

    def __init__(self, path: Path, settings: FileSettings) -> None:
        """Raises `ModelError` when the library cannot load the file."""
        listen()
        self.path = path
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers if lib.llama_supports_gpu_offload() else 0
        self.model: _Pointer | None = lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise ModelError(
                f"llama.cpp cannot load the model: {heard() or 'it does not say why'}",
                where=str(path),
                remedy="Download or convert it again; a newer llama-cpp-python knows more kinds of models.",
            )

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        if self.model:
            lib.llama_model_free(self.model)
            self.model = None

    def threads(self, asked: int | None) -> int:
        """Threads for computing. Of a small model each operation is so short that threads which wait for one
        another lose more than they gain; on a busy machine, a thousandfold. So it gets one."""
        small = lib.llama_model_size(self.model) < _SMALL
        return asked or (1 if small else machine.threads())

    @property
    def template(self) -> str:
        """The chat template in the file; empty where it has none."""
        return (lib.llama_model_chat_template(self.model, None) or b"").decode("utf-8", "replace")

    def context_size(self, asked: int | None) -> int:
        """Tokens for a context. Raises `ModelError` when `asked` is more than the model was trained for."""
        most = lib.llama_model_n_ctx_train(self.model) or _DEFAULT_CONTEXT
        if asked is not None and asked > most:
            raise ModelError(
                f"the model reads at most {most} tokens, `context` asks for {asked}",
                where=str(self.path),
                remedy=f"Set `context` to {most} or less.",
            )
        return asked or min(_DEFAULT_CONTEXT, most)


class Session:
    """A context with one stretch of tokens in its memory. To be used by one thread only.

    `begin` sets the prompt, `push` adds tokens, and nothing is computed before `logits` asks for it.
    """

    def __init__(self, weights: Weights, settings: FileSettings, *, branches: int = 0) -> None:
        """`branches`: how many continuations can be computed side by side, for scoring."""
        self.abort = AbortFlag()
        self.branches = branches
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = weights.context_size(settings.context)
        parameters.n_batch = parameters.n_ubatch = _BATCH
        parameters.n_seq_max = 1 + branches
        parameters.kv_unified = True
        parameters.swa_full = True
        parameters.n_threads = parameters.n_threads_batch = weights.threads(settings.threads)
        parameters.abort_callback = self.abort.callback
        parameters.abort_callback_data = self.abort.data
        parameters.no_perf = True
        listen()
        self.context: _Pointer | None = lib.llama_init_from_model(weights.model, parameters)
        if not self.context:
            raise ModelError(
                f"llama.cpp cannot make room for {parameters.n_ctx} tokens: {heard() or 'it does not say why'}",
                where=str(weights.path),
                remedy="Set `context` lower, or free memory.",
            )
        self.size: int = parameters.n_ctx
        self.memory = lib.llama_get_memory(self.context)
        self._vocabulary: int = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(weights.model))
        self._batch = lib.llama_batch_init(_BATCH, 0, 1 + branches)
        self._past: list[int] = []
        self._pending: list[int] = []
        self._scope = ""
        self._row: Row | None = None

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        if self.context:
            lib.llama_batch_free(self._batch)
            lib.llama_free(self.context)
            self.context = None

    @property
    def length(self) -> int:
        """Tokens of prompt and reply so far."""
        return len(self._past) + len(self._pending)

    @property
    def computed(self) -> int:
        """Tokens that lie in the memory."""
        return len(self._past)

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.size - self.length

    def begin(self, prompt: Sequence[int], scope: str = "") -> int:
        """Start anew with `prompt`; how many of its tokens need not be computed.

        What the last request left is used only when both have the same `scope` and it is not empty, so that
        nobody can learn from the time that an answer takes what somebody else has asked.
        """
        shared = _shared(self._past, prompt) if scope and scope == self._scope else 0
        shared = min(shared, len(prompt) - 1)
        if shared <= 0 or not lib.llama_memory_seq_rm(self.memory, 0, shared, -1):
            shared = 0
            lib.llama_memory_clear(self.memory, False)
        self._past = list(prompt[:shared])
        self._pending = list(prompt[shared:])
        self._scope = scope
        self._row = None
        return shared

    def reset(self) -> None:
        """Forget everything, after a failure."""
        lib.llama_memory_clear(self.memory, False)
        self._past, self._pending, self._scope, self._row = [], [], "", None

    def push(self, tokens: Sequence[int]) -> None:
        """Add tokens to the end."""
        self._pending += tokens
        if tokens:
            self._row = None

    def logits(self) -> Row:
        """The logits for the token that follows, computing what is still to be computed.

        Raises `Stopped` when the abort flag is up, `ModelError` when the computation fails.
        """
        if self.length > self.size:
            raise ModelError(f"the reply does not fit into the {self.size} tokens of the setting `context`")
        if self._row is None:
            for at in range(0, len(self._pending), _BATCH):
                part = self._pending[at : at + _BATCH]
                places = range(len(self._past), len(self._past) + len(part))
                self.decode([(token, place, (0,)) for token, place in zip(part, places, strict=True)], last_only=True)
                self._past += part
            self._pending = []
            self._row = self.row(-1).copy()
        return self._row

    def decode(self, tokens: Sequence[tuple[int, int, Sequence[int]]], *, last_only: bool = False) -> None:
        """Compute one batch of (token, position, sequences): at most `batch_size` tokens."""
        batch = self._batch
        for at, (token, place, sequences) in enumerate(tokens):
            batch.token[at] = token
            batch.pos[at] = place
            batch.n_seq_id[at] = len(sequences)
            for number, sequence in enumerate(sequences):
                batch.seq_id[at][number] = sequence
            batch.logits[at] = not last_only or at == len(tokens) - 1
        batch.n_tokens = len(tokens)
        listen()
        code = lib.llama_decode(self.context, batch)
        if code == 0:
            return
        self.reset()
        if code == 2:
            raise Stopped
        raise ModelError(f"llama.cpp failed to compute (code {code}): {heard() or 'it does not say why'}")

    @property
    def batch_size(self) -> int:
        """Tokens that one `decode` may have, such that its logits stay below 64 MB."""
        return max(1, min(_BATCH, 16_000_000 // self._vocabulary))

    def row(self, at: int) -> Row:
        """The logits behind token `at` of the last batch; valid until the next one."""
        pointer = lib.llama_get_logits_ith(self.context, at)
        if not pointer:
            raise ModelError("llama.cpp gave no logits")
        return floats(pointer, self._vocabulary)


def _shared(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens at the start are the same."""
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
