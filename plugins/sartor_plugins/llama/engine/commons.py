"""What belongs to nobody: beginnings of prompts that are the same for every tenant, computed once for all.

It lies in ordinary memory, and is copied to whoever begins with it. What is stored is exactly what was declared public,
never a token more, whoever happened to compute it first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from sartor.errors import ModelError

from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.context import Context
from sartor_plugins.llama.engine.prefixes import Scope

__all__ = ["Commons"]

_NOBODY = Scope("")

log = logging.getLogger("sartor.llama")


class Commons:
    """Public beginnings, together at most `limit` bytes; the longest unused one goes first."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._too_long = math.inf if limit else 0
        """Tokens that took more than there is room for."""
        self.attic = Attic(limit)

    def wants(self, length: int) -> bool:
        """Whether there may be room for so many tokens."""
        return length < self._too_long

    def get(self, tokens: Sequence[int]) -> Stored | None:
        """What begins with `tokens`."""
        stored, same = self.attic.best(_NOBODY, tokens)
        return stored if same == len(tokens) else None

    def put(self, sequence: int, tokens: Sequence[int], spare: int) -> None:
        """Store what `sequence` has of `tokens`, its first ones; `spare` is an empty sequence.

        Where that fails, replies go on without it.
        """
        try:
            if not self._context.copy(sequence, [spare], len(tokens)):
                return
            if self._context.size_of(spare) > self._limit:
                self._too_long = min(self._too_long, len(tokens))
            elif (data := self._context.save(spare)) is not None:
                self.attic.put(Stored(_NOBODY, list(tokens), data))
        except (ModelError, MemoryError) as error:
            log.warning("what is public of a prompt cannot be kept: %s", error or type(error).__name__)
        finally:
            self._context.drop(spare)
