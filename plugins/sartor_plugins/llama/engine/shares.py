"""Whose tokens are computed next: deficit round robin between tenants, by tokens.

After M. Shreedhar and G. Varghese, "Efficient Fair Queuing using Deficit Round Robin", SIGCOMM 1995: in each round a
tenant that has work may have `quantum × weight` tokens computed; what it overdraws is missing in the next round. So
one that has much to do cannot slow another down further than to its share, whatever it sends. Unlike there, a round is
not served one tenant after the other: those who have most left of it go on first, so that nobody waits for the whole of
another's share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["Shares"]


class Shares:
    """The accounts of the tenants that have work."""

    def __init__(self, quantum: int = 128, slack: int = 16) -> None:
        """`slack`: tokens by which one tenant may be ahead of another within a round."""
        self._quantum = quantum
        self._slack = slack
        self._left: dict[str, float] = {}

    def turn(self, weights: Mapping[str, float]) -> frozenset[str]:
        """The tenants, of those with work (each with its weight), that may compute now. Never empty for some."""
        for tenant in [tenant for tenant in self._left if tenant not in weights]:
            del self._left[tenant]  # who has nothing to do saves nothing up
        for tenant, weight in weights.items():
            self._left.setdefault(tenant, self._quantum * weight)
        while weights and not any(left > 0 for left in self._left.values()):
            for tenant, weight in weights.items():
                self._left[tenant] = min(self._left[tenant], 0) + self._quantum * weight
        left = {tenant: self._left[tenant] / weight for tenant, weight in weights.items()}
        enough = max(left.values(), default=0.0) - self._slack
        return frozenset(tenant for tenant, tokens in left.items() if tokens > 0 and tokens >= enough)

    def left(self, tenant: str) -> int:
        """Tokens that `tenant` may still have in this round."""
        return max(0, math.ceil(self._left.get(tenant, 0)))

    def charge(self, tenant: str, tokens: int) -> None:
        """`tokens` of `tenant` were computed."""
        if tenant in self._left:
            self._left[tenant] -= tokens
