"""Loads a GGUF file in a process of its own; run by `sartor_plugins.llama.probe`, as a file and not as a module.

It imports `llama_cpp` and nothing of Sartor, so that it starts in a fraction of a second. What llama.cpp logs goes to
stderr. Exit code 0: the file loads; 3: it is refused; 4: the library cannot be loaded; anything else is a crash.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from typing import Any

__all__ = ["MISSING", "REFUSED", "main"]

REFUSED = 3
MISSING = 4


def main(memory: int, path: str, whole: bool, adapter: str = "") -> int:
    """Load the file at `path`, and the `adapter` for it; with `whole`, compute what follows one token, too.

    `memory` is the limit on what the process may take beside the file itself, in bytes.
    """
    try:
        import llama_cpp.llama_cpp as binding
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return MISSING
    lib: Any = binding
    lib.llama_backend_init()
    _limit(memory)
    parameters = lib.llama_model_default_params()
    parameters.n_gpu_layers = 0
    parameters.use_extra_bufts = False  # no second copy of the weights in another layout
    model = lib.llama_model_load_from_file(path.encode(), parameters)
    if not model or (adapter and not lib.llama_adapter_lora_init(model, adapter.encode())):
        return REFUSED
    return _decode(lib, model) if whole else 0


def _limit(memory: int) -> None:
    """Bound what the process may take: memory that is its own, and no core file. Where the system knows how."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _decode(lib: Any, model: Any) -> int:
    """Compute what follows one token."""
    parameters = lib.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 64
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.no_perf = True
    context = lib.llama_init_from_model(model, parameters)
    if not context:
        return REFUSED
    vocabulary = lib.llama_model_get_vocab(model)
    first = max(0, lib.llama_vocab_bos(vocabulary))
    tokens = (ctypes.c_int32 * 1)(first)
    batch = lib.llama_batch_get_one(tokens, 1)
    encodes = lib.llama_model_has_encoder(model)
    code = lib.llama_encode(context, batch) if encodes else lib.llama_decode(context, batch)
    if code:
        print(f"error: the first token cannot be computed (code {code})", file=sys.stderr)
        return REFUSED
    logits = lib.llama_get_logits_ith(context, -1)
    width = lib.llama_vocab_n_tokens(vocabulary) if logits else 0
    if not all(map(math.isfinite, logits[:width] if logits else ())):
        print("error: its weights are damaged: what follows the first token is not a number", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "whole", *sys.argv[4:]))
