"""What the store asks of a database: that a piece of work is one transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from sartor.store.faults import Driver, translated

__all__ = ["PATIENCE", "Database", "Work"]

T = TypeVar("T")
Work = Callable[[Connection], T]
"""What is done inside one transaction. It may be done again from the start, so it changes nothing but rows."""

PATIENCE = 10.0
"""Seconds for which a transaction waits for another process before it becomes `StoreError`."""


class Database(ABC):
    """A database that does work in transactions. Every error it raises is a `StoreError`.

    Cancelling a caller never leaves half a transaction: work that has begun is finished and then committed
    or rolled back as a whole, and work that still waited for its turn may not be done at all.
    """

    driver: Driver = ()

    def __init__(self, place: str) -> None:
        self.place = place
        """Its address without the password."""

    async def read(self, work: Work[T]) -> T:
        """Do `work` on one state of the database, without writing."""
        with translated(self.place, self.driver):
            return await self._read(work)

    async def glance(self, work: Work[T]) -> T:
        """`read` for work that finds a few rows by their keys. Where that takes less time than to change threads, it
        is done in the thread of the caller's event loop."""
        with translated(self.place, self.driver):
            return await self._glance(work)

    async def write(self, work: Work[T]) -> T:
        """Do `work` and commit it, or let nothing of it be seen."""
        with translated(self.place, self.driver):
            return await self._write(work)

    async def upgrade(self, work: Work[None]) -> None:
        """Change tables: `write`, but alone, and with foreign keys checked at the end only."""
        with translated(self.place, self.driver):
            await self._upgrade(work)

    async def scrub(self) -> None:
        """Remove what deleted rows left behind, as far as it is Sartor's to reach."""
        with translated(self.place, self.driver):
            await self._scrub()

    async def close(self) -> None:
        """Finish what has begun and release files and connections. Calling it again does nothing."""
        with translated(self.place, self.driver):
            await self._close()

    @abstractmethod
    async def _read(self, work: Work[T]) -> T: ...

    async def _glance(self, work: Work[T]) -> T:
        return await self._read(work)

    @abstractmethod
    async def _write(self, work: Work[T]) -> T: ...

    @abstractmethod
    async def _upgrade(self, work: Work[None]) -> None: ...

    @abstractmethod
    async def _scrub(self) -> None: ...

    @abstractmethod
    async def _close(self) -> None: ...
