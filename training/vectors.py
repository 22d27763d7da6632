"""First token vectors: what stands near a token (PPMI, SVD) and how it is spelled."""

from __future__ import annotations

import unicodedata
import zlib

import numpy as np
import torch
from tokenizers import Tokenizer

from training.model import MEANING

__all__ = ["token_vectors"]


def near_counts(sequences: list[list[int]], size: int, window: int = 5) -> np.ndarray:
    """How often each pair of tokens stands within `window` of each other."""
    counts = np.zeros(size * size, dtype=np.float32)
    flat = np.array([t for s in sequences for t in [*s, *[0] * window]], dtype=np.int64)
    for gap in range(1, window + 1):
        a, b = flat[:-gap], flat[gap:]
        pairs, n = np.unique(np.concatenate([a * size + b, b * size + a]), return_counts=True)
        counts[pairs] += n / gap**0.5
    counts = counts.reshape(size, size)
    counts[0] = counts[:, 0] = 0
    return counts


def spelled(tokenizer: Tokenizer, size: int, width: int) -> np.ndarray:
    """Vectors of the letter n-grams of each token, without case, accent or leading space."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=(4096, width)).astype(np.float32)
    out = np.zeros((size, width), dtype=np.float32)
    for i in range(size):
        text = tokenizer.decode([i], skip_special_tokens=False).strip().lower()
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        padded = f"<{text}>"
        grams = {padded[j : j + n] for n in (2, 3, 4) for j in range(len(padded) - n + 1)} | {padded[:5]}
        for gram in grams:
            out[i] += table[zlib.crc32(gram.encode()) % 4096]
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-6)


def token_vectors(
    sequences: list[list[int]], tokenizer: Tokenizer, meaning: int = MEANING, spelling: int = 64
) -> torch.Tensor:
    """One row a token, its entries of about size one; the last column tells how rare the token is."""
    size = tokenizer.get_vocab_size()
    counts = near_counts(sequences, size)
    total = counts.sum()
    alone = counts.sum(1) + 1e-6
    ppmi = np.log(np.maximum(counts * total / alone[:, None] / alone[None, :] ** 0.75 / (alone.sum() ** 0.25), 1.0))
    u, s, _ = torch.svd_lowrank(torch.from_numpy(ppmi), q=meaning + 16, niter=3)
    near = (u[:, :meaning] * s[:meaning] ** 0.5).numpy()
    near /= np.linalg.norm(near, axis=1, keepdims=True) + 1e-6
    rare = np.log(total / alone)
    rare = (rare - rare.mean()) / (rare.std() + 1e-6)
    near *= 0.9 * meaning**0.5
    spell = spelled(tokenizer, size, spelling) * 0.9 * spelling**0.5
    return torch.from_numpy(np.concatenate([near, spell, np.clip(rare, -3, 3)[:, None] * 0.8], 1)).float()
