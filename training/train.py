"""The training run: phases, losses, and what is written while it runs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.batches import FIRST, Batch, Feed
from training.model import OUTPUT, UNPAIRED, Mini, Shape, rotate
from training.muon import Muon
from training.tokenizer import Coder
from training.warm import from_file

__all__ = ["Aids", "copy_batch", "load", "save", "train"]

FOUND, SOUGHT = 1, 3  # after these layers: words that match are known; the right sentence is known

PHASES = (0.10, 0.30)  # parts of the time at which the examples become longer
LEVEL = 0.10  # the part of the time at which the learning rate begins to fall
COPYING = 20  # first steps, on random tokens that repeat


class Aids(nn.Module):
    """Helpers that exist only in training: they ask inner layers for what they should know by then."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.match = nn.Linear(d, 1)
        self.unit = nn.Linear(d, 1)
        self.first = nn.Linear(d, d, bias=False)
        self.norm = nn.RMSNorm(d, eps=1e-6)
        nn.init.eye_(self.first.weight)

    def losses(self, model: Mini, kept: list[Tensor], batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Losses of the matching words, the right sentence, the starts of sentences; hits."""
        d = model.shape.width
        found, sought = (self.norm(k.float()).reshape(-1, d) for k in kept)
        zero = found.sum() * 0
        match = (
            F.binary_cross_entropy_with_logits(self.match(found[batch.match_at])[:, 0], batch.match)
            if len(batch.match)
            else zero
        )
        there = batch.unit_at >= 0
        if not there.any():
            return match, zero, zero, zero
        states = sought[batch.unit_at.clamp(min=0)]
        scores = self.unit(states)[..., 0].masked_fill(~there, -1e4)
        scores = torch.cat([scores, scores.new_zeros(len(scores), 1)], 1)
        rows = there.any(1)
        unit = F.cross_entropy(scores[rows], batch.gold[rows])
        hits = (scores[rows].argmax(1) == batch.gold[rows]).float().mean()
        logits = F.linear(self.first(sought[batch.start_at]), model.embed.weight)
        return match, unit, F.cross_entropy(logits * 4 * OUTPUT, batch.start), hits


def pointing(model: Mini, stream: Tensor, batch: Batch) -> Tensor:
    """How little of one head after `SOUGHT` looks from the answer's place into the text to be copied."""
    rows = (batch.span[:, 1] > 0).nonzero()[:, 0]
    if not len(rows):
        return stream.sum() * 0
    block, n, t = model.blocks[SOUGHT + 1], model.shape.head_width, stream.shape[1]
    h = block.attn_norm(stream[rows].float())
    at = batch.ask_at[rows] % t
    cos, sin = model.cos[:t], model.sin[:t]
    k = rotate(F.linear(h, block.k.weight[:n]), cos, sin)
    q = rotate(F.linear(h[torch.arange(len(rows)), at], block.q.weight[:n]), cos[at], sin[at])
    scores = torch.einsum("bd,btd->bt", q, k) * n**-0.5
    place, span = torch.arange(t)[None], batch.span[rows]
    scores = scores.masked_fill(place > at[:, None], -1e4)
    inside = (place >= span[:, :1]) & (place <= span[:, 1:])
    return (scores.logsumexp(1) - scores.masked_fill(~inside, -1e4).logsumexp(1)).mean()


def copy_batch(vocab: int, rows: int = 40, length: int = 160) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens that repeat after a random period; only the repeats are learned."""
    tokens = torch.randint(7, vocab, (rows, length))
    at = []
    for row in range(rows):
        period = random.randint(3, 72)
        tokens[row] = tokens[row, :period].repeat(length // period + 1)[:length]
        at.append(torch.arange(period, length - 1) + row * length)
    flat = torch.cat(at)
    flat = flat[torch.randperm(len(flat))[:1500]]
    return tokens, flat, torch.ones(len(flat))


def optimisers(model: Mini, aids: Aids, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 and "embed" not in n] + list(aids.parameters())
    return [
        Muon(inner, lr),
        torch.optim.AdamW(
            [{"params": rest, "lr": lr * 0.4}, {"params": [model.embed.weight, model.embed.space], "lr": lr * 1.5}],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
    ]


def save(path: Path, model: Mini, note: dict) -> None:
    torch.save({"shape": model.shape.as_dict(), "weights": model.state_dict(), "note": note}, path)


def load(path: Path) -> tuple[Mini, dict]:
    stored = torch.load(path, weights_only=True)
    model = Mini(Shape(**stored["shape"]))
    model.load_state_dict(stored["weights"])
    return model.eval(), stored["note"]


def first_weights(work: Path, start: Path | None) -> Mini:
    """Those of a checkpoint or an exported file to go on from, or new ones."""
    if start and start.suffix == ".gguf":
        return from_file(start, Coder(work / "tokenizer.json"))
    if start:
        return load(start)[0]
    vectors = torch.load(work / "vectors.pt", weights_only=True)
    return Mini(Shape(vocab=2 * len(vectors) - UNPAIRED), vectors)


def speed(done: float, warm: float = 0.01) -> float:
    """The learning rate's factor at this part of the time: up, level, then down to nearly nothing."""
    if done < warm:
        return max(done / warm, 0.05)
    if done < LEVEL:
        return 1.0
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - LEVEL) / (1 - LEVEL)))


def train(
    work: Path,
    minutes: float,
    lr: float = 1.8e-3,
    checkpoint: Callable[[Mini, dict], None] | None = None,
    every: float = 10.0,
    seed: int = 0,
    start: Path | None = None,
    budget: int = 4096,
) -> Mini:
    """Train for so many minutes: copying, then easy quotes, then everything, then long prompts."""
    torch.manual_seed(seed)
    random.seed(seed)
    torch.set_num_threads(2)
    fast = torch.cpu._is_avx512_bf16_supported()  # without it, bfloat16 is slower than float32
    model = first_weights(work, start).train()
    aids = Aids(model.shape)
    steps = optimisers(model, aids, lr)
    feed = Feed(work, seed + 1, budget)
    begin = time.time()
    total = minutes * 60
    seen = examples = step = 0
    mean: dict[str, float] = {}
    copying, next_save, next_line = True, every * 60, 0.0
    while (now := time.time() - begin) < total:
        done = now / total
        for s in steps:
            for group in s.param_groups:
                group.setdefault("base", group["lr"])
                group["lr"] = group["base"] * speed(done)
        if copying and (start or step >= COPYING):
            copying = False
        feed.phase.value = max(int(start is not None), sum(done > part for part in PHASES))
        if copying:
            tokens, at, weight = copy_batch(model.shape.vocab)
        else:
            batch = feed.next()
            tokens, at, weight = batch.tokens, batch.at, batch.weight
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            if copying:
                every, kept = model(tokens, keep=(FOUND, SOUGHT))
                hidden = every.reshape(-1, model.shape.width)[at]
            else:
                hidden, kept = model.hidden_at(tokens, at, keep=(FOUND, SOUGHT))
            logits = model.logits(hidden)
        target = tokens.reshape(-1)[at + 1]
        each = F.cross_entropy(logits.float(), target, reduction="none")
        loss = words = (each * weight).sum() / weight.sum()
        now_mean = {"copy" if copying else "answer": words.item()}
        if not copying:
            match, unit, first, hits = aids.losses(model, kept, batch)
            point = pointing(model, kept[1], batch)
            loss = words + 0.1 * match + 0.3 * unit + 0.1 * first + 0.3 * point
            chosen = weight == FIRST
            right = (logits[chosen].argmax(-1) == target[chosen]).float()
            rest = weight == 1.0
            now_mean["copied"] = (logits[rest].argmax(-1) == target[rest]).float().mean().item()
            for kind, hit in zip(batch.kinds, right.tolist(), strict=True):
                now_mean.setdefault(kind, []).append(hit)
            now_mean = {k: sum(v) / len(v) if isinstance(v, list) else v for k, v in now_mean.items()}
            now_mean |= {
                "match": match.item(),
                "unit": unit.item(),
                "first": first.item(),
                "point": point.item(),
                "unit_right": hits.item(),
                "first_right": right.mean().item(),
            }
            examples += len(batch.kinds)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for s in steps:
            s.step()
            s.zero_grad()
        step, seen = step + 1, seen + tokens.numel()
        for k, v in now_mean.items():
            mean[k] = v if k not in mean else 0.95 * mean[k] + 0.05 * v
        if now >= next_line:
            next_line = now + 30
            shown = " ".join(f"{k} {v:.3f}" for k, v in mean.items())
            print(
                f"{now / 60:5.1f} min step {step} phase {feed.phase.value} examples {examples} tok/s {seen / max(now, 1):.0f} {shown}",
                flush=True,
            )
        if checkpoint and now >= next_save:
            next_save = now + every * 60
            checkpoint(model, {"minutes": now / 60, "steps": step, "examples": examples, "tokens": seen})
            model.train()
    feed.close()
    note = {"minutes": minutes, "steps": step, "examples": examples, "tokens": seen}
    if checkpoint:
        checkpoint(model, note)
    save(work / "model.pt", model, note)
    return model
