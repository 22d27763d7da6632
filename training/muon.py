"""Muon for many small matrices on processors without bfloat16: all of one shape at once, in float32."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

A, B, C = 3.4445, -4.7750, 2.0315  # of the Newton-Schulz iteration (Keller Jordan, 2024)


def orthogonal(matrices: Tensor, steps: int) -> Tensor:
    """The nearest orthogonal matrices, roughly, of (n, rows, columns) with no more rows than columns."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = A * x + torch.baddbmm(square, square, square, beta=B, alpha=C) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal; their size is that of AdamW's."""

    def __init__(
        self, matrices: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.02, steps: int = 4
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "decay": decay, "steps": steps})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                alike[min(p.shape), max(p.shape)].append(p)
            for (small, large), some in alike.items():
                updates = []
                for p in some:
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    mean.lerp_(p.grad, 1 - group["momentum"])
                    update = p.grad.lerp(mean, group["momentum"])
                    updates.append(update if len(p) == small else update.mT)
                turned = orthogonal(torch.stack(updates), group["steps"])
                for p, update in zip(some, turned, strict=True):
                    p.mul_(1 - group["lr"] * group["decay"])
                    p.add_(update if len(p) == small else update.mT, alpha=-group["lr"] * 0.2 * large**0.5)
