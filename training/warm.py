"""First weights out of an exported file, whatever its tokenizer: the layers as they are, token vectors by spelling."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch

from training.export import PARTS
from training.model import UNPAIRED, Mini, Shape
from training.tokenizer import SPACE, Coder

__all__ = ["from_file"]


def from_file(path: Path, coder: Coder) -> Mini:
    """A model with the layers of the file; a token that the file does not have is the mean of its longest pieces."""
    reader = gguf.GGUFReader(path)
    tensors = {t.name: torch.from_numpy(np.array(t.data, dtype=np.float32)) for t in reader.tensors}
    old = {token: i for i, token in enumerate(reader.fields["tokenizer.ggml.tokens"].contents())}
    model = Mini(Shape(vocab=coder.size))
    vectors, shift = token_vectors(tensors["token_embd.weight"], old, coder)
    with torch.no_grad():
        model.embed.weight.copy_(vectors)
        model.embed.space.copy_(shift)
        model.norm.weight.copy_(tensors["output_norm.weight"])
        for i, block in enumerate(model.blocks):
            for ours, theirs in PARTS.items():
                getattr(block, ours).weight.copy_(tensors[f"blk.{i}.{theirs}.weight"])
    return model


def token_vectors(table: torch.Tensor, old: dict[str, int], coder: Coder) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of the tokens without a space, and the shift that a space before them makes."""
    vocabulary = coder.tokenizer.get_vocab()
    plain = sorted(vocabulary, key=vocabulary.__getitem__)[: (coder.size + UNPAIRED) // 2]
    both = [(old[t], old[SPACE + t]) for t in plain if t in old and SPACE + t in old]
    shift = torch.stack([table[b] - table[a] for a, b in both]).mean(0)
    rows = []
    for token in plain:
        found = [table[old[token]]] if token in old else []
        if SPACE + token in old:
            found.append(table[old[SPACE + token]] - shift)
        if not found:
            found = [table[old[piece]] for piece in pieces(token, old)]
        rows.append(torch.stack(found).mean(0))
    return torch.stack(rows), shift


def pieces(token: str, old: dict[str, int]) -> list[str]:
    """The token in the longest pieces, from its start, that the vocabulary has."""
    found = []
    while token:
        size = next(n for n in range(len(token), 0, -1) if token[:n] in old)
        found.append(token[:size])
        token = token[size:]
    return found
