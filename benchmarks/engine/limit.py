"""The limit: a bare loop of `llama_decode` on full batches. No queue, no streaming, nothing but the likeliest token."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence

import llama_cpp.llama_cpp as lib
import numpy as np

from benchmarks.engine.work import Ask, Setup, Told, Words

__all__ = ["Limit"]

_BATCH = 512


class Limit:
    """One context, as the engine has it."""

    def __init__(self, setup: Setup, sequences: int) -> None:
        self._words = Words(setup.path)
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(setup.path.encode(), parameters)
        wanted = lib.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch, wanted.n_seq_max = setup.cells, _BATCH, _BATCH, sequences
        wanted.n_threads = wanted.n_threads_batch = setup.threads
        wanted.kv_unified = False
        wanted.no_perf = True
        context = lib.llama_init_from_model(self._model, wanted) if self._model else None
        if context is None:
            raise RuntimeError(f"llama.cpp cannot load {setup.path}")
        self._context = context
        self._size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        self._batch = lib.llama_batch_init(_BATCH, 0, 1)

    def run(self, prompts: Sequence[Sequence[int]], new: int) -> list[Told]:
        """Read the prompts in full batches, then write `new` tokens for each."""
        lib.llama_memory_clear(lib.llama_get_memory(self._context), False)
        began = time.perf_counter()
        told = [Told(began, prompt=len(prompt), new=new) for prompt in prompts]
        places = [
            (token, at, number, at == len(prompt) - 1)
            for number, prompt in enumerate(prompts)
            for at, token in enumerate(prompt)
        ]
        last = [0] * len(prompts)
        for at in range(0, len(places), _BATCH):
            part = places[at : at + _BATCH]
            self._decode(part)
            for row, (_, _, number, wanted) in enumerate(part):
                if wanted:
                    last[number] = self._likeliest(row)
                    told[number].add("a")
        for step in range(new - 1):
            self._decode([(token, len(prompts[i]) + step, i, True) for i, token in enumerate(last)])
            last = [self._likeliest(row) for row in range(len(prompts))]
            for one in told:
                one.add("a")
        return told

    async def start(self) -> None:
        """Everything is there."""

    async def answer(self, asks: Sequence[Ask]) -> list[Told]:
        """Answer requests whose replies have the same length."""
        return self.run([self._words.prompt(one) for one in asks], asks[0].new)

    async def close(self) -> None:
        """Free the memory."""
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)

    def _decode(self, places: Sequence[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        for row, (token, position, sequence, wanted) in enumerate(places):
            batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = token, position, 1, wanted
            batch.seq_id[row][0] = sequence
        batch.n_tokens = len(places)
        if code := lib.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode: {code}")

    def _likeliest(self, row: int) -> int:
        pointer = lib.llama_get_logits_ith(self._context, row)
        array = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * self._size)).contents
        return int(np.argmax(np.frombuffer(array, dtype=np.float32)))
