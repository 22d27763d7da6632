"""GGUF files with random weights, which cost per token what a real model of their shape costs.

    python benchmarks/random_model.py 135M /tmp/135m.gguf [--type q8_0] [--seed 7]
    python benchmarks/random_model.py 1B /tmp/1b.gguf --type f16 --words 32768

The architecture is Llama's, with shared input and output embeddings. The vocabulary is a byte-level BPE of all short
strings of letters, made on the spot, with a simple chat template. What does not begin with a space has an embedding so
short that the model never says it. So each reply runs to the number of tokens that was asked for, each token is seen,
and where a conversation goes on, a reply is read as the very tokens that were said, as a real model's nearly always is.
"""

from __future__ import annotations

import argparse
import itertools
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf.quants import quantize

__all__ = ["CONTROL", "SHAPES", "Shape", "random_tensors", "tensor_shapes", "vocabulary", "write_model"]

Array = npt.NDArray[np.float32]

CONTROL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{{ '<|assistant|>\n' }}"  # as an expression: Jinja removes a newline at the end of a template
)
TYPES = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
FILES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
_WORDS = slice(256, 256 + sum(26**letters for letters in (1, 2, 3)))
"""The tokens that begin with a space, behind the bytes: see `_pairs`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the cost of a token."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    words: int
    context: int = 65536
    base: float = 10000.0

    @property
    def head(self) -> int:
        """Numbers of one attention head."""
        return self.width // self.heads


SHAPES = {
    "135M": Shape(30, 576, 9, 3, 1536, 49152),  # as SmolLM-135M
    "1B": Shape(16, 2048, 32, 8, 8192, 128256, base=500000.0),  # as Llama-3.2-1B
    "tiny": Shape(2, 192, 3, 1, 256, 19456),  # for trying the scripts
}


def vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Tokens and merges: the bytes, then strings of letters in order of length, with and without a space before."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    tokens = [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]
    merges: list[str] = []
    for left, right in itertools.islice(_pairs(tokens[ord(" ")]), size - len(tokens) - len(CONTROL)):
        merges.append(f"{left} {right}")
        tokens.append(left + right)
    return [*tokens, *CONTROL], merges


def _pairs(space: str) -> Iterator[tuple[str, str]]:
    """First all that begins with a space, so that each word of up to three letters becomes one token."""
    for stems, longest in (([space], 3), (list(string.ascii_lowercase), 4)):
        grown = stems
        for _ in range(longest if stems == [space] else longest - 1):
            longer = list(itertools.product(grown, string.ascii_lowercase))
            yield from longer
            grown = [left + right for left, right in longer]


def tensor_shapes(shape: Shape, *, shared: bool = True) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors, in the order of the file."""
    attention, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    out: dict[str, tuple[int, ...]] = {"token_embd.weight": (shape.words, shape.width)}
    if not shared:
        out["output.weight"] = (shape.words, shape.width)
    for layer in range(shape.layers):
        prefix = f"blk.{layer}."
        out |= {
            f"{prefix}attn_norm.weight": (shape.width,),
            f"{prefix}attn_q.weight": (attention, shape.width),
            f"{prefix}attn_k.weight": (keys, shape.width),
            f"{prefix}attn_v.weight": (keys, shape.width),
            f"{prefix}attn_output.weight": (shape.width, attention),
            f"{prefix}ffn_norm.weight": (shape.width,),
            f"{prefix}ffn_gate.weight": (shape.inner, shape.width),
            f"{prefix}ffn_up.weight": (shape.inner, shape.width),
            f"{prefix}ffn_down.weight": (shape.width, shape.inner),
        }
    return out | {"output_norm.weight": (shape.width,)}


def random_tensors(seed: int) -> Callable[[str, tuple[int, ...]], Array]:
    """What makes one tensor after another: norms are ones, everything else is normal noise."""
    random = np.random.default_rng(seed)

    def make(name: str, shape: tuple[int, ...]) -> Array:
        if len(shape) == 1:
            return np.ones(shape, dtype=np.float32)
        tensor = random.standard_normal(shape, dtype=np.float32)
        tensor *= np.float32(shape[-1] ** -0.5)
        if name == "token_embd.weight":
            tensor[: _WORDS.start] *= np.float32(0.01)
            tensor[_WORDS.stop :] *= np.float32(0.01)
            tensor[-len(CONTROL) :] *= np.float32(0.01)
        return tensor

    return make


def write_model(
    path: Path,
    shape: Shape,
    kind: str,
    make: Callable[[str, tuple[int, ...]], Array],
    *,
    shared: bool = True,
    extra: Mapping[str, Array] | None = None,
) -> Path:
    """Write the file, one tensor in memory at a time; `extra` tensors are written as they are."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, shape, kind)
    shapes = tensor_shapes(shape, shared=shared)
    for name, size in shapes.items():
        _announce(writer, name, size, kind)
    for name, tensor in (extra or {}).items():
        writer.add_tensor_info(name, tensor.shape, tensor.dtype, tensor.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, size in shapes.items():
        tensor = make(name, size)
        writer.write_tensor_data(_stored(tensor, kind) if len(size) > 1 else tensor)
    for tensor in (extra or {}).values():
        writer.write_tensor_data(tensor)
    writer.close()
    return path


def _announce(writer: gguf.GGUFWriter, name: str, size: tuple[int, ...], kind: str) -> None:
    stored = TYPES[kind] if len(size) > 1 else gguf.GGMLQuantizationType.F32
    block, length = gguf.GGML_QUANT_SIZES[stored]
    width = size[-1] // block * length
    count = int(np.prod(size[:-1])) * width
    if stored == TYPES["q8_0"]:
        writer.add_tensor_info(name, (*size[:-1], width), np.dtype(np.uint8), count, raw_dtype=stored)
    else:
        writer.add_tensor_info(name, size, np.dtype(np.float16 if len(size) > 1 else np.float32), count)


def _stored(tensor: Array, kind: str) -> npt.NDArray[np.generic]:
    """In slices: what `quantize` needs beside its argument is several times as large."""
    slices = range(0, len(tensor), 4096)
    return np.concatenate([quantize(tensor[at : at + 4096], TYPES[kind]) for at in slices])


def _describe(writer: gguf.GGUFWriter, shape: Shape, kind: str) -> None:
    tokens, merges = vocabulary(shape.words)
    writer.add_name("random weights")
    writer.add_file_type(FILES[kind])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.base)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    plain = len(tokens) - len(CONTROL)
    writer.add_token_types([gguf.TokenType.NORMAL] * plain + [gguf.TokenType.CONTROL] * len(CONTROL))
    writer.add_token_merges(merges)
    writer.add_eos_token_id(plain)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    parser.add_argument("--words", type=int, help="tokens of the vocabulary")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    if options.words:
        shape = replace(shape, words=options.words)
    write_model(options.path, shape, options.type, random_tensors(options.seed))
    print(f"{options.path}: {options.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
