"""What tokens cost."""

from __future__ import annotations

from sartor.spec import PriceSpec
from sartor.values import Usage

__all__ = ["cost_of"]

_MILLION = 1_000_000


def cost_of(usage: Usage, price: PriceSpec) -> float:
    """In the currency of `price`."""
    cached = price.prompt if price.cached is None else price.cached
    computed = usage.prompt - usage.cached
    return (computed * price.prompt + usage.cached * cached + usage.generated * price.generated) / _MILLION
