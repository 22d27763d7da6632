"""A small Llama whose first weights already know how to look one token back and at equal tokens."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MEANING", "OUTPUT", "UNPAIRED", "Mini", "Shape", "rotate"]

CONSTANT = -1  # the one embedding dimension that holds the same value for every token
MEANING = 64  # dimensions of a token's vector that tell its neighbourhood; as many more tell its spelling
SPACED = 2.0  # how far a space moves a token from the middle, in a dimension of its own
UNPAIRED = 7  # the special tokens, first in the vocabulary, have no twin with a space before it
OUTPUT = 0.05  # the first gain of the last norm: embeddings have size one, logits must not be huge


@dataclass(frozen=True)
class Shape:
    """The dimensions of a model, stored with its weights."""

    vocab: int = 9993
    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 576
    rope_base: float = 1e8
    context: int = 2048
    eps: float = 1e-6

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions in the interleaved layout, the one that llama.cpp uses for Llama."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    """Attention, then a gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.shape = shape
        self.attn_norm, self.ffn_norm = Norm(d, shape.eps), Norm(d, shape.eps)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate = nn.Linear(d, shape.hidden, bias=False)
        self.up = nn.Linear(d, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        b, t, d = x.shape
        h = self.attn_norm(x)
        split = (b, t, self.shape.heads, self.shape.head_width)
        q, k, v = (w(h).view(split).transpose(1, 2) for w in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        scores = q @ k.transpose(-1, -2) * self.shape.head_width**-0.5 + mask  # faster here than SDPA
        mixed = torch.softmax(scores, -1).to(v.dtype) @ v
        x = x + self.o(mixed.transpose(1, 2).reshape(b, t, d))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))

    def at(self, x: Tensor, places: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The output at the places (rows, count) only: all that the last layer is asked for in training."""
        b, t, d = x.shape
        n = places.shape[1]
        h = self.attn_norm(x)
        wanted = places[..., None].expand(b, n, d)
        x = x.gather(1, wanted)
        heads, size = self.shape.heads, self.shape.head_width
        k, v = (w(h).view(b, t, heads, size).transpose(1, 2) for w in (self.k, self.v))
        q = self.q(h.gather(1, wanted)).view(b, n, heads, size).transpose(1, 2)
        q, k = rotate(q, cos[places][:, None], sin[places][:, None]), rotate(k, cos[:t], sin[:t])
        later = torch.arange(t)[None, None, None] > places[:, None, :, None]
        scores = (q @ k.transpose(-1, -2) * size**-0.5).masked_fill(later, float("-inf"))
        mixed = torch.softmax(scores, -1) @ v
        x = x + self.o(mixed.transpose(1, 2).reshape(b, n, d))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Twins(nn.Module):
    """Token vectors, where a token after a space has its twin's vector and one shift that all of them share."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty((shape.vocab + UNPAIRED) // 2, shape.width))
        self.space = nn.Parameter(torch.zeros(shape.width))

    def table(self) -> Tensor:
        return torch.cat([self.weight, self.weight[UNPAIRED:] + self.space])

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.table())


class Mini(nn.Module):
    """The model; `forward` gives the residual stream after each layer that is asked for."""

    def __init__(self, shape: Shape, token_vectors: Tensor | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.embed = Twins(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.eps)
        angle = torch.outer(torch.arange(shape.context).float(), self.frequencies())
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        causal = torch.full((shape.context, shape.context), float("-inf")).triu(1)
        self.register_buffer("causal", causal, persistent=False)
        self.last = self.blocks[-1].at
        self._initialise(token_vectors)

    def frequencies(self) -> Tensor:
        n = self.shape.head_width
        return self.shape.rope_base ** (-torch.arange(0, n, 2).float() / n)

    def forward(
        self, tokens: Tensor, keep: tuple[int, ...] = (), places: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The normed last hidden states, and the stream after the layers in `keep`.

        `places` and `mask` replace the plain order of the tokens (several endings after one prompt).
        """
        x = self.embed(tokens)
        t = tokens.shape[1]
        if places is None or mask is None:
            cos, sin, mask = self.cos[:t], self.sin[:t], self.causal[:t, :t]
        else:
            cos, sin = self.cos[places], self.sin[places]
        kept = []
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask)
            if i in keep:
                kept.append(x)
        return self.norm(x), kept

    def hidden_at(self, tokens: Tensor, at: Tensor, keep: tuple[int, ...] = ()) -> tuple[Tensor, list[Tensor]]:
        """The normed last hidden states at flat positions in rising order, and the stream after the layers in `keep`."""
        b, t = tokens.shape
        rows = at // t
        count = torch.bincount(rows, minlength=b)
        order = torch.arange(len(at)) - (count.cumsum(0) - count)[rows]
        places = torch.zeros(b, int(count.max()), dtype=torch.int64)
        places[rows, order] = at % t
        x, kept = self.embed(tokens), []
        for i, block in enumerate(self.blocks[:-1]):
            x = block(x, self.cos[:t], self.sin[:t], self.causal[:t, :t])
            if i in keep:
                kept.append(x)
        x = self.last(x, places, self.cos, self.sin)
        return self.norm(x[rows, order]), kept

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed.table().to(hidden.dtype))

    # -- first weights ------------------------------------------------------------------------

    def _initialise(self, token_vectors: Tensor | None) -> None:
        """Random weights, and some circuits: look back, copy what followed, look at equals, look nearby.

        The stream holds, in this order: the token's content, whether a space is before it, the token before, the second
        before, a constant. What is compared leaves the space out; what is copied has it.
        """
        s = self.shape
        n = s.head_width
        self.before = s.width - 1 - n - n // 2
        self.second = self.before + n
        self.spaced = self.before - 1
        with torch.no_grad():
            self.norm.weight.fill_(OUTPUT)
            self.embed.weight.normal_()
            if token_vectors is not None:  # distributional vectors in the first dimensions
                k = token_vectors.shape[1]
                self.embed.weight[:, :k] = 0.5 * self.embed.weight[:, :k] + token_vectors
            self.embed.weight[:, self.before :] = 0
            self.embed.weight[:, CONSTANT] = 6.0
            self.embed.weight[:, self.spaced] = -SPACED
            self.embed.space[self.spaced] = 2 * SPACED
            for block in self.blocks:
                for w in (block.q, block.k, block.v, block.gate, block.up):
                    w.weight.normal_(0, s.width**-0.5)
                for w in (block.o, block.down):  # small beside the embeddings, or they would drown
                    w.weight.normal_(0, 0.3 * (w.in_features * 2 * s.layers) ** -0.5)
            self.projection = torch.zeros(n, s.width)
            self.projection[:, : self.spaced] = torch.randn(n, self.spaced) * self.spaced**-0.5
            self._look_back(0, 0, 1)
            self._look_back(0, 1, 2)
            self._carry(0, 0, self.before, n)
            self._carry(0, 1, self.second, n // 2)
            for layer in (1, 2):
                self._copy_follower(layer, 0)
            fast = [i for i in range(n) if i not in self._slow()]
            for w in (self.blocks[-2].q, self.blocks[-2].k):  # the head that points to the text to copy
                w.weight[fast] *= 0.1
            for layer, head in ((1, 3), (2, 3), (3, 2), (3, 3)):
                self._look_nearby(layer, head)
            spelling = slice(MEANING, MEANING + 64)
            for layer, head, part in ((0, 2, None), (1, 1, None), (1, 2, spelling), (2, 1, None), (2, 2, spelling)):
                self._look_at_equals(layer, head, part or slice(0, self.spaced))

    def _rows(self, head: int) -> slice:
        n = self.shape.head_width
        return slice(head * n, (head + 1) * n)

    def _slow(self) -> list[int]:
        """The places of a head whose rotary pairs hardly turn within a prompt."""
        return [2 * i + j for i, f in enumerate(self.frequencies().tolist()) if f < 0.002 for j in (0, 1)]

    def _look_back(self, layer: int, head: int, back: int) -> None:
        """Make `head` attend `back` positions back, by rotary phase alone."""
        block, rows = self.blocks[layer], self._rows(head)
        block.q.weight[rows] = 0
        block.k.weight[rows] = 0
        for pair, theta in enumerate(self.frequencies()[:6].tolist()):
            at = rows.start + 2 * pair
            block.k.weight[at, CONSTANT] = 1.4
            block.q.weight[at, CONSTANT] = 1.4 * math.cos(-back * theta)
            block.q.weight[at + 1, CONSTANT] = 1.4 * math.sin(-back * theta)

    def _look_nearby(self, layer: int, head: int, strength: float = 0.9) -> None:
        """Make `head` attend to the last twenty tokens or so, with room for what it learns to seek there."""
        block, rows = self.blocks[layer], self._rows(head)
        keys, queries = block.k.weight[rows], block.q.weight[rows]
        near = [i for i, f in enumerate(self.frequencies().tolist()) if 0.015 < f < 0.06]
        for i, f in enumerate(self.frequencies().tolist()):
            if f > 0.002:
                keys[2 * i : 2 * i + 2] = 0
                queries[2 * i : 2 * i + 2] = 0
            if i in near:
                keys[2 * i, CONSTANT] = queries[2 * i, CONSTANT] = strength

    def _carry(self, layer: int, head: int, to: int, size: int) -> None:
        """Make `head` write what it reads, seen through the projection, into `size` dimensions from `to`."""
        block, rows = self.blocks[layer], self._rows(head)
        block.v.weight[rows] = self.projection
        block.o.weight[:, rows] = 0
        for i in range(size):
            block.o.weight[to + i, rows.start + i] = 1.5

    def _copy_follower(self, layer: int, head: int) -> None:
        """Make `head` look for places before which the present two tokens stand, and bring their token."""
        block, rows, n = self.blocks[layer], self._rows(head), self.shape.head_width
        block.q.weight[rows] = 0
        block.k.weight[rows] = 0
        slow = self._slow()
        part = len(slow) * 5 // 8
        for i, place in enumerate(slow):
            q, k = block.q.weight[rows.start + place], block.k.weight[rows.start + place]
            if i < part:  # the present token, and the one before the key
                q.copy_(1.4 * self.projection[i])
                k[self.before + i] = 1.4
            else:  # the token before, and the second before the key
                q[self.before + i - part] = 1.4
                k[self.second + i - part] = 1.4
        seen = torch.zeros(n, self.shape.width)
        seen[0, self.spaced] = 1
        seen[1:, : self.spaced] = torch.linalg.qr(torch.randn(self.spaced, n - 1))[0].T
        block.v.weight[rows] = seen
        block.o.weight[:, rows] = 3.0 * seen.T

    def _look_at_equals(self, layer: int, head: int, part: slice) -> None:
        """Make `head` attend to tokens like its own: query = key, in the slow rotary pairs."""
        block, rows = self.blocks[layer], self._rows(head)
        shared = torch.zeros(self.shape.head_width, self.shape.width)
        width = part.stop - part.start
        slow = self._slow()
        shared[slow, part] = torch.randn(len(slow), width) * 1.2 * width**-0.5
        block.q.weight[rows] = shared
        block.k.weight[rows] = shared
