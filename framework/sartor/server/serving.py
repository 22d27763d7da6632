"""A process that serves an application, and lets the turns in flight finish before it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import AsyncExitStack
from types import FrameType

import uvicorn
from fastapi import FastAPI

from sartor.server.service import Service

__all__ = ["SETTINGS", "serve"]

SETTINGS = {"log_config": None, "access_log": False, "server_header": False}
"""What uvicorn is told for any process of ours: logs, with a line for each request, are our own."""

_GRACE = 5
"""Seconds between the end of the last turn and that of connections which nobody reads from."""


def serve(application: FastAPI, *, host: str, port: int, drain_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, which ends it in order, or a second SIGINT, which ends it at once.

    In order means: no connection is accepted any more, turns go on for `drain_seconds` at most, those left are
    cancelled, what they had released is stored, every stream is ended. Exits with 0 after SIGTERM. Raises what
    opening the project raises.
    """
    signal.signal(signal.SIGTERM, _exit)  # uvicorn raises the signal again when it is done
    grace = int(drain_seconds) + _GRACE
    _Server(
        uvicorn.Config(application, host, port, lifespan="off", timeout_graceful_shutdown=grace, **SETTINGS),  # type: ignore[arg-type]
        application,
    ).run()


class _Server(uvicorn.Server):
    """Opens and closes the application itself: uvicorn would log an error of that as a traceback."""

    def __init__(self, config: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(config)
        self._application = application
        self._opened = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._opened.enter_async_context(self._application.router.lifespan_context(self._application))
        try:
            await super().startup(sockets)
        except BaseException:  # the address is taken: uvicorn says so, and exits
            await self._opened.aclose()
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's own waits for connections; turns must end first, so that streams can be ended in order."""
        service = getattr(self._application.state, "sartor", None)
        assert isinstance(service, Service)
        drained = asyncio.create_task(service.drain(), name="draining")
        await super().shutdown(sockets)
        while not (drained.done() or self.force_exit):  # noqa: ASYNC110 - a signal tells no event
            await asyncio.sleep(0.1)
        if not self.force_exit:
            await self._opened.aclose()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
