"""What belongs to nobody: beginnings of prompts that are the same for every tenant, computed once for all.

It lies in ordinary memory, and is copied to whoever begins with it. What is stored is exactly what was declared public,
never a token more, whoever happened to compute it first.
"""

from __future__ import annotations

from collections.abc import Sequence

from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.context import Context
from sartor_plugins.llama.engine.prefixes import Scope

__all__ = ["Commons"]

_NOBODY = Scope("")


class Commons:
    """Public beginnings, together at most `limit` bytes; the longest unused one goes first."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self.attic = Attic(limit)

    def get(self, tokens: Sequence[int]) -> Stored | None:
        """What begins with `tokens`."""
        stored, same = self.attic.best(_NOBODY, tokens)
        return stored if same == len(tokens) else None

    def __contains__(self, stored: Stored) -> bool:
        return stored.scope is _NOBODY

    def put(self, sequence: int, tokens: Sequence[int], spare: int) -> None:
        """Store what `sequence` has of `tokens`, its first ones; `spare` is an empty sequence."""
        copied = self._context.copy(sequence, [spare], len(tokens))
        if copied and (data := self._context.save(spare)) is not None:
            self.attic.put(Stored(_NOBODY, list(tokens), data))
        self._context.drop(spare)
