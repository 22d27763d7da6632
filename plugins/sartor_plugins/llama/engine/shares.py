"""Whose tokens are computed next: fair queuing between tenants, by tokens.

After P. Goyal, H. Vin and H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996: each tenant that has work has an account
of the tokens that were computed for it, divided by its weight, and who has had least goes on. So one that has much to
do cannot slow another down further than to its share, whatever it sends. Nobody saves anything up while it has nothing
to do, but for prompts (below). What it has had beyond the others' share is remembered, but for a few tokens: who waits
for each reply before it asks again is served before those who ask for many at once.

A prompt may be read on credit, ahead of the others and without being charged: token by token in turn with fifteen
replies that are written, one of 500 tokens would take as long as sixteen. A tenant has credit for one long prompt,
gets it back while it has no work, as fast as the others are served meanwhile, and so cannot live on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["Shares"]


class Shares:
    """The accounts of the tenants, in tokens for a weight of 1."""

    def __init__(self, quantum: int = 128, slack: int = 16, forgiven: int = 64, credit: int = 4096) -> None:
        """`quantum`: tokens by which a batch may bring a tenant ahead of another; `slack`: how far it may be ahead to
        go on all the same; `forgiven`: what is forgotten of its account when it comes with work again; `credit`: tokens
        of prompts that it may read ahead of the others."""
        self._quantum = quantum
        self._slack = slack
        self._forgiven = forgiven
        self._credit = credit
        self._weights: Mapping[str, float] = {}
        self._had: dict[str, float] = {}
        self._least = 0.0
        self._reached = 0.0
        """The most that `_least` has been: what a tenant begins with that comes with work. `_least` itself falls with
        each that is forgiven something, and those who come together would be forgiven ever more."""
        self._owes: dict[str, float] = {}
        """What each tenant with work has used of its credit."""
        self._free_at: dict[str, float] = {}
        """Of those without work that have used some: at which `_reached` it is paid back."""

    def turn(self, weights: Mapping[str, float]) -> frozenset[str]:
        """The tenants, of those with work (each with its weight), that may compute now. Never empty for some."""
        if not weights:
            return frozenset()
        had = [self._had[tenant] for tenant in weights if tenant in self._weights]
        self._reached = max(self._reached, min(had, default=self._reached))
        if weights.keys() != self._weights.keys():
            self._leave([tenant for tenant in self._weights if tenant not in weights])
            self._come([tenant for tenant in weights if tenant not in self._weights])
        self._weights = dict(weights)
        self._least = min(self._had[tenant] for tenant in weights)
        return frozenset(tenant for tenant in weights if self._had[tenant] <= self._least + self._slack)

    def _come(self, tenants: Sequence[str]) -> None:
        for tenant in tenants:
            self._had[tenant] = max(self._had.get(tenant, self._reached), self._reached) - self._forgiven
            self._owes[tenant] = max(0.0, self._free_at.pop(tenant, self._reached) - self._reached)

    def _leave(self, tenants: Sequence[str]) -> None:
        for tenant in tenants:
            self._free_at[tenant] = self._reached + self._owes.pop(tenant)
        self._had = {tenant: had for tenant, had in self._had.items() if tenant in self._owes or had > self._reached}
        self._free_at = {tenant: free for tenant, free in self._free_at.items() if free > self._reached}

    def left(self, tenant: str) -> int:
        """Tokens that `tenant`, which has work, may have in the next batch."""
        ahead = self._had[tenant] - self._least
        return max(0, math.ceil((self._quantum - ahead) * self._weights[tenant]))

    def credit(self, tenant: str, part: float = 1.0) -> int:
        """Tokens of prompts that `tenant`, which has work, may read ahead of the others, where only `part` of its whole
        credit counts."""
        return max(0, math.floor((self._credit * part - self._owes[tenant]) * self._weights[tenant]))

    def had(self, tenant: str) -> float:
        """What `tenant`, which has work, has had."""
        return self._had[tenant]

    def charge(self, tenant: str, tokens: int) -> None:
        """`tokens` of `tenant`, which has work, were computed."""
        self._had[tenant] += tokens / self._weights[tenant]

    def lend(self, tenant: str, tokens: int) -> None:
        """`tokens` of a prompt of `tenant`, which has work, were computed on credit, as far as there was any."""
        borrowed = min(tokens, self.credit(tenant))
        self._owes[tenant] += borrowed / self._weights[tenant]
        self.charge(tenant, tokens - borrowed)

    def clear(self) -> None:
        """Nobody has work, and all are equal again."""
        self._had.clear()
        self._owes.clear()
        self._free_at.clear()
        self._weights = {}
        self._least = self._reached = 0.0
