"""What all requests of one service share."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from starlette.requests import HTTPConnection

from sartor.bots import Bots
from sartor.intake import Intake
from sartor.server.ingesting import IngestJobs
from sartor.server.keys import Keys
from sartor.server.live import LiveTurns
from sartor.server.logs import TurnLines
from sartor.server.metrics import Metrics
from sartor.server.readiness import Readiness
from sartor.server.secret import load_secret
from sartor.server.sessions import Sessions
from sartor.servicespec import ServiceSpec

__all__ = ["Service", "service_of"]

log = logging.getLogger("sartor.server")


class Service:
    """The open project behind an application, and what runs in it."""

    def __init__(self, bots: Bots) -> None:
        """Raises `UsageError` or `DiskError` when the service's secret cannot be had."""
        self.bots = bots
        self.spec: ServiceSpec = bots.project.spec.service
        secret = load_secret(self.spec.secret, bots.project.directory)
        self.keys = Keys(bots.store, secret)
        self.sessions = Sessions(secret, self.spec.session_hours)
        self.metrics = Metrics(models=lambda: bots.models, tools=self._tools)
        self.readiness = Readiness(bots)
        self.live = LiveTurns(bots, self.spec, self.metrics.no_room)
        self._observers = [TurnLines(), self.metrics]
        bots.observers[:0] = self._observers
        self.intake = Intake(bots)
        self.jobs = IngestJobs(bots)
        self.draining = False
        """Whether the service was told to stop: it takes nothing new."""

    async def drain(self) -> None:
        """Take nothing new, and wait for what runs, for `service.drain_seconds` at most."""
        self.draining = True
        seconds = self.spec.drain_seconds
        await asyncio.gather(self.live.drain(seconds), self.jobs.drain(seconds), self.intake.close(seconds))

    async def close(self) -> None:
        """Leave the open project as it was, which a host may go on to use."""
        await self.readiness.close()
        for observer in self._observers:
            self.bots.observers.remove(observer)

    def _tools(self, bot_id: str) -> set[str]:
        return {tool.name for tool in self.bots[bot_id].tools}


def service_of(connection: HTTPConnection) -> Service:
    """The service that a request was made to. Raises `RuntimeError` where its application was not started."""
    service = getattr(connection.app.state, "sartor", None)
    if service is None:
        raise RuntimeError(
            "the application was not started: run its lifespan, or mount it as docs/how-to/mount.md tells"
        )
    return cast("Service", service)
