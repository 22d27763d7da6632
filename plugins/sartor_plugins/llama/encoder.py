"""A loaded GGUF embedding model: texts to vectors, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sartor.errors import ModelError

from sartor_plugins.llama import gguf
from sartor_plugins.llama.engine.weights import Weights
from sartor_plugins.llama.native import floats, heard, lib, listen
from sartor_plugins.llama.probe import probe
from sartor_plugins.llama.settings import EmbeddingsSettings, model_path
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Encoder", "Vectors"]

_SEQUENCES = 16
_SMALLEST = 512
_DEFAULT_CONTEXT = 2048

Vectors = list[list[float]]


class Encoder:
    """A loaded embedding model. To be used by its owner's thread only."""

    def __init__(self, settings: EmbeddingsSettings, directory: Path) -> None:
        """Raises `ModelError` when the file is missing, broken, or no embedding model."""
        path = model_path(settings.path, directory)
        gguf.check(path, settings.sha256)
        probe(path, settings)
        self._weights = Weights(path, settings)
        most = lib.llama_model_n_ctx_train(self._weights.model)
        self.limit: int = self._weights.context_size(settings.context or min(most, _DEFAULT_CONTEXT))
        self._room = max(self.limit, _SMALLEST)
        self._context = self._open(settings, lib.LLAMA_POOLING_TYPE_UNSPECIFIED)
        if lib.llama_pooling_type(self._context) == lib.LLAMA_POOLING_TYPE_NONE:
            lib.llama_free(self._context)
            self._context = self._open(settings, lib.LLAMA_POOLING_TYPE_MEAN)
        if lib.llama_pooling_type(self._context) == lib.LLAMA_POOLING_TYPE_RANK:
            self.close()
            raise ModelError("the model ranks texts and gives no vectors", where=str(path))
        self._vocabulary = Vocabulary(self._weights.model)
        self._width: int = lib.llama_model_n_embd_out(self._weights.model)
        self._batch = lib.llama_batch_init(self._room, 0, 1)

    def _open(self, settings: EmbeddingsSettings, pooling: int) -> object:
        parameters = lib.llama_context_default_params()
        parameters.embeddings = True
        parameters.pooling_type = pooling
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self._room
        parameters.n_seq_max = _SEQUENCES
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = self._weights.threads(settings.threads)
        listen()
        context = lib.llama_init_from_model(self._weights.model, parameters)
        if not context:
            raise ModelError(f"llama.cpp cannot use the model: {heard()}", where=str(self._weights.path))
        return context

    def fits(self, group: Sequence[Sequence[int]], tokens: Sequence[int]) -> bool:
        """Whether a batch of `group` has room for one more text."""
        return len(group) < _SEQUENCES and sum(map(len, group)) + len(tokens) <= self._room

    def close(self) -> None:
        """Free the memory; the object is of no use afterwards."""
        lib.llama_free(self._context)
        self._weights.close()

    def tokens(self, text: str) -> list[int]:
        """The tokens of `text`; what is over the model's limit is cut off."""
        tokens = self._vocabulary.whole(text) or self._vocabulary.whole(" ")
        if not tokens:
            raise ModelError("the model's tokenizer has no token for an empty text")
        return tokens if len(tokens) <= self.limit else [*tokens[: self.limit - 1], tokens[-1]]

    def compute(self, group: Sequence[Sequence[int]]) -> Vectors:
        """A vector of length 1 for each of `group`, in one batch."""
        memory = lib.llama_get_memory(self._context)
        if memory:
            lib.llama_memory_clear(memory, False)
        batch, at = self._batch, 0
        for sequence, tokens in enumerate(group):
            for place, token in enumerate(tokens):
                batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, place, 1, True
                batch.seq_id[at][0] = sequence
                at += 1
        batch.n_tokens = at
        listen()
        if code := lib.llama_decode(self._context, batch):
            raise ModelError(f"llama.cpp failed to compute vectors (code {code}): {heard()}")
        return [self._vector(sequence) for sequence in range(len(group))]

    def _vector(self, sequence: int) -> list[float]:
        pointer = lib.llama_get_embeddings_seq(self._context, sequence)
        if not pointer:
            raise ModelError("llama.cpp gave no vector", where=str(self._weights.path))
        vector = floats(pointer, self._width)
        length = float(np.linalg.norm(vector))
        return [float(value) for value in (vector / length if length > 0 else vector)]
