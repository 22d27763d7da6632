"""Whether the service could answer a turn now: its model is loaded, its database within reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sartor.bots import Bots

__all__ = ["Check", "Readiness"]

log = logging.getLogger("sartor.server")

_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    name: str
    ok: bool


class Readiness:
    """Checks of one open project. What fails is logged, and told without detail."""

    def __init__(self, bots: Bots) -> None:
        self._bots = bots
        self._loading: asyncio.Task[None] | None = None
        self._failed: set[str] = set()

    def begin(self) -> None:
        """Begin to load the project's model, so that the first turn need not wait for it."""
        self._loading = asyncio.create_task(self._load(), name="loading the model")
        self._loading.add_done_callback(self._loaded)

    async def checks(self) -> list[Check]:
        """All checks, done side by side, for two seconds at most."""
        works = {"model": self._model, "database": self._bots.store.reach}
        return list(await asyncio.gather(*(self._check(name, work) for name, work in works.items())))

    async def close(self) -> None:
        """Wait for nothing any more."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    async def _check(self, name: str, work: Callable[[], Awaitable[None]]) -> Check:
        try:
            async with asyncio.timeout(_PATIENCE):
                await work()
        except TimeoutError:
            self._tell(name, "it takes longer than 2 seconds")
            return Check(name, False)
        except Exception as error:
            self._tell(name, error)
            return Check(name, False)
        if name in self._failed:
            self._failed.discard(name)
            log.info("the %s is ready again", name)
        return Check(name, True)

    async def _model(self) -> None:
        """Wait for the model, which goes on loading when nobody waits any more, and is tried again when it failed."""
        if self._loading is None or (self._loading.done() and _failed(self._loading)):
            self.begin()
        assert self._loading is not None
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        if start := getattr(self._bots.model(), "start", None):
            await start()

    def _loaded(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tell("model", error)

    def _tell(self, name: str, why: object) -> None:
        if name not in self._failed:  # once, not at every question of a load balancer
            self._failed.add(name)
            log.warning("the %s is not ready: %s", name, why)


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
