"""A GGUF file whose model repeats what it reads, at the cost of a real model of its shape.

    python -m benchmarks.copying_model 135M /tmp/copying.gguf [--type q8_0]

Random weights never quote, so that speculation could not be measured with them. This model has an induction head
(Olsson et al., "In-context Learning and Induction Heads", 2022) built by hand: a head of the first layer writes each
token's predecessor beside it; a head of the second looks for the place whose predecessor is the present token, and
says what stands there. All other weights are random, computed like any others, and lead nowhere. Where a word stands
twice, what follows it is a draw, so texts should have no word twice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.random_model import CONTROL, SHAPES, TYPES, Array, Shape, random_tensors, write_model

__all__ = ["copying_model"]

_TURNING = 8
"""Pairs of numbers of a head that turn with the position; the others stand still, for comparing tokens."""
_SHARP = 30.0
"""How much the right place stands out for the first head, for each of its pairs."""
_MATCH = 60.0
"""How much the right place stands out for the second head."""


def copying_model(path: Path, shape: Shape, kind: str) -> Path:
    """Write the file."""
    still = np.full(shape.head // 2, 1e9, dtype=np.float32)
    still[:_TURNING] = 1
    make = _Weights(shape)
    return write_model(path, shape, kind, make, shared=False, extra={"rope_freqs.weight": still})


class _Weights:
    """Each token has a code of signs. A place in the stream of the layers: a constant, the token's code, the code of
    its predecessor, the code of what is to be said."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._length = length = shape.head - 2 * _TURNING
        self._own, self._before, self._said = (slice(1 + at * length, 1 + (at + 1) * length) for at in range(3))
        self._random = random_tensors(7)
        self._codes = np.random.default_rng(11).choice([-1.0, 1.0], (shape.words, length)).astype(np.float32)

    def __call__(self, name: str, size: tuple[int, ...]) -> Array:
        if len(size) == 1:
            return np.ones(size, dtype=np.float32)
        if name == "token_embd.weight":
            return self._embedding(size)
        if name == "output.weight":
            return self._output(size)
        _, layer, kind, *_ = name.split(".")
        if kind in ("attn_output", "ffn_down") and not (kind == "attn_output" and int(layer) < 2):
            return np.zeros(size, dtype=np.float32)
        if kind.startswith("attn_") and int(layer) < 2:
            return self._head(int(layer), kind, size)
        return self._random(name, size)

    def _embedding(self, size: tuple[int, ...]) -> Array:
        out = np.zeros(size, dtype=np.float32)
        out[:, 0] = self._length**0.5
        out[:, self._own] = self._codes
        return out

    def _output(self, size: tuple[int, ...]) -> Array:
        out = np.zeros(size, dtype=np.float32)
        out[:, self._said] = self._codes
        out[:256] = 0
        out[-len(CONTROL) :] = 0
        return out

    def _head(self, layer: int, kind: str, size: tuple[int, ...]) -> Array:
        out = np.zeros(size, dtype=np.float32)
        length = self._length
        grown = (self._shape.width / ((2 + layer) * length)) ** 0.5  # by the norm before the layer
        if kind == "attn_v":
            out[:length, self._own] = np.eye(length) / grown
        elif kind == "attn_output":
            out[self._said if layer else self._before, :length] = np.eye(length)
        elif layer:
            strength = (_MATCH * self._shape.head**0.5 / length) ** 0.5 / grown
            out[2 * _TURNING : self._shape.head, self._before if kind == "attn_k" else self._own] = (
                np.eye(length) * strength
            )
        else:
            strength = (_SHARP * self._shape.head**0.5) ** 0.5 / (grown * length**0.5)
            angles = self._shape.base ** (-2 * np.arange(_TURNING) / self._shape.head) * (kind == "attn_k")
            out[: 2 * _TURNING : 2, 0] = np.cos(angles) * strength
            out[1 : 2 * _TURNING : 2, 0] = np.sin(angles) * strength
        return out


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    options = parser.parse_args()
    copying_model(options.path, SHAPES[options.shape], options.type)
    print(f"{options.path}: {options.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
