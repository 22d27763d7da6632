"""One memory for all sequences, or one for each, where 16 conversations are live: ``python -m benchmarks.streams``.

Milliseconds of `llama_decode` on random weights of 135M (Q8_0), two threads. The engine gives each a room of its own
where the machine has enough memory (`kv_unified` off), and else one memory to all. The last two show why it seats them
side by side: the library computes groups of neighbours one after the other.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import llama_cpp.llama_cpp as lib
from sartor_plugins.llama.native import listen

from benchmarks.random_model import SHAPES, random_tensors, write_model

_SEQUENCES, _LENGTH, _ROOM, _BATCH = 16, 600, 2048, 512
_Part = tuple[int, int]
"""A sequence, and how many tokens are computed behind what it has."""
_WORK: dict[str, list[_Part]] = {
    "a token for each": [(number, 1) for number in range(_SEQUENCES)],
    "64 tokens of a prompt": [(0, 64)],
    "128 tokens of a prompt": [(0, 128)],
    "128 tokens of a prompt, a token for 15": [(0, 128), *((number, 1) for number in range(1, _SEQUENCES))],
    "a token for each but the eighth": [(number, 1) for number in range(_SEQUENCES) if number != 7],
    "a token for every second": [(number, 1) for number in range(0, _SEQUENCES, 2)],
}


def measure(path: Path, *, unified: bool) -> list[float]:
    """Milliseconds of each piece of work, medians of five."""
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    wanted = lib.llama_context_default_params()
    wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = _SEQUENCES * _ROOM, _BATCH, _BATCH
    wanted.n_seq_max, wanted.n_threads, wanted.n_threads_batch = _SEQUENCES, 2, 2
    wanted.kv_unified = unified
    context = lib.llama_init_from_model(model, wanted)
    if context is None:
        raise RuntimeError(f"llama.cpp cannot load {path}")
    batch = lib.llama_batch_init(_BATCH, 0, 1)
    held = [0] * _SEQUENCES

    def compute(parts: list[_Part]) -> float:
        row = 0
        for sequence, count in parts:
            for at in range(count):
                batch.token[row], batch.pos[row] = 1000 + 7 * row, held[sequence] + at
                batch.n_seq_id[row], batch.logits[row] = 1, at == count - 1
                batch.seq_id[row][0] = sequence
                row += 1
        batch.n_tokens = row
        began = time.perf_counter()
        if code := lib.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode: {code}")
        lib.llama_synchronize(context)
        return (time.perf_counter() - began) * 1000

    for sequence in range(_SEQUENCES):
        for count in (_BATCH, _LENGTH - _BATCH):
            compute([(sequence, count)])
            held[sequence] += count
    told: list[float] = []
    for parts in _WORK.values():
        took = []
        for _ in range(5):
            took.append(compute(parts))
            for sequence, _count in parts:
                lib.llama_memory_seq_rm(lib.llama_get_memory(context), sequence, held[sequence], -1)
        told.append(statistics.median(took))
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)
    return told


def main() -> None:
    """Print a table."""
    listen()
    with tempfile.TemporaryDirectory(prefix="sartor-streams-") as folder:
        path = write_model(Path(folder) / "random-135M.gguf", SHAPES["135M"], "q8_0", random_tensors(7))
        one, each = measure(path, unified=True), measure(path, unified=False)
    print("| ms | one memory | one for each | ratio |\n| --- | --- | --- | --- |")
    for name, ours, theirs in zip(_WORK, one, each, strict=True):
        print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
