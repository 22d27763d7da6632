"""Vectors of small collections held in memory: compared one by one, which is exact and takes microseconds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sartor.values import Chunk

__all__ = ["Exact", "Held"]

Key = tuple[Path, str]
"""A tenant's folder and the name of a bot's collection in it."""


class Exact:
    """The vectors of one bot's chunks. It never changes: `having` and `without` make another."""

    def __init__(self, ids: Sequence[str], audiences: Sequence[str], rows: NDArray[np.float32]) -> None:
        """`rows` are of length 1, or 0; see `unit`."""
        self._ids = list(ids)
        self._audiences = list(audiences)
        self._rows = rows

    @property
    def size(self) -> int:
        """In bytes."""
        return self._rows.nbytes

    def __len__(self) -> int:
        return len(self._ids)

    def having(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> Exact:
        """These and `chunks`, which take the place of those with the same ids."""
        import numpy as np

        rest = self.without([chunk.id for chunk in chunks])
        return Exact(
            [*rest._ids, *(chunk.id for chunk in chunks)],
            [*rest._audiences, *(chunk.audience for chunk in chunks)],
            np.concatenate([rest._rows, unit(vectors)]),
        )

    def without(self, ids: Sequence[str]) -> Exact:
        """These but for the chunks `ids`; unknown ones are no error."""
        gone = frozenset(ids)
        kept = [number for number, id_ in enumerate(self._ids) if id_ not in gone]
        if len(kept) == len(self._ids):
            return self
        return Exact([self._ids[at] for at in kept], [self._audiences[at] for at in kept], self._rows[kept])

    def search(self, vectors: NDArray[np.float32], limit: int, audience: str | None) -> list[dict[str, float]]:
        """For each vector the cosine, 0 to 1, of the `limit` nearest chunks by id, among those for everybody and for
        `audience`; None: whomever they are for."""
        import numpy as np

        # Not `@`: BLAS would split it among threads, which takes far longer where other processes are busy.
        near = np.einsum("ij,kj->ki", self._rows, unit(vectors))
        if audience is not None:
            hidden = np.array([one not in ("", audience) for one in self._audiences], dtype=bool)
            near[:, hidden] = -np.inf
        best = np.argsort(-near, axis=1, kind="stable")[:, :limit]
        return [
            {
                self._ids[at]: min(1.0, max(0.0, cosine))
                for at, cosine in zip(order.tolist(), cosines[order].tolist(), strict=True)
                if cosine > -np.inf
            }
            for order, cosines in zip(best, near, strict=True)
        ]


class Held:
    """The `Exact` of those bots that were searched last, of all tenants together at most `limit` bytes.

    Safe to use from several threads. A key holds the tenant's folder, so that nobody is given another's.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Exact] = OrderedDict()
        self._size = 0

    def get(self, key: Key) -> Exact | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Key, exact: Exact) -> None:
        """Hold `exact`, and forget what was searched longest ago where there is no room; itself, if it is too large."""
        with self._lock:
            self._drop(key)
            self._held[key] = exact
            self._size += exact.size
            while self._size > self.limit:
                self._drop(next(iter(self._held)))

    def pop(self, key: Key) -> Exact | None:
        """Forget what is held under `key`, and give it back."""
        with self._lock:
            return self._drop(key)

    def forget(self, folder: Path) -> None:
        """Forget every bot of a tenant's folder."""
        with self._lock:
            for key in [key for key in self._held if key[0] == folder]:
                self._drop(key)

    def _drop(self, key: Key) -> Exact | None:
        exact = self._held.pop(key, None)
        self._size -= exact.size if exact is not None else 0
        return exact


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """`vectors`, each at length 1; one of length 0 stays as it is."""
    import numpy as np

    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return cast("NDArray[np.float32]", vectors / np.where(lengths > 0, lengths, np.float32(1)))
