"""The application: which parts it is put together from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import sartor
from sartor.bots import Bots
from sartor.server import failures, operations
from sartor.server.limits import Door
from sartor.server.native import conversations, sessions, turns
from sartor.server.openapi import describe
from sartor.server.requests import Requests
from sartor.server.service import Service

__all__ = ["Opener", "build"]

Opener = Callable[[], AbstractAsyncContextManager[Bots]]
"""Opens the project that an application serves."""

_ROUTERS: tuple[APIRouter, ...] = (sessions.router, conversations.router, turns.router, operations.router)


def build(opened: Opener) -> FastAPI:
    """The application over the project that `opened` gives when the lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            service = Service(await stack.enter_async_context(opened()))
            app.state.sartor = service
            service.readiness.begin()
            try:
                yield
            finally:
                await service.drain()
                await service.close()
                del app.state.sartor

    app = _Application(title="Sartor", version=sartor.__version__, lifespan=lifespan, responses=failures.RESPONSES)
    for router in _ROUTERS:
        app.include_router(router)
    failures.install(app)
    describe(app)
    app.add_middleware(Door)
    app.add_middleware(
        CORSMiddleware,  # nothing here is authenticated by cookies, so any page may ask
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Sartor-User"],
        expose_headers=["Retry-After", "X-Request-Id"],
    )
    return app


class _Application(FastAPI):
    """FastAPI with a note of every request, also of those that its outermost middleware answers."""

    def build_middleware_stack(self) -> ASGIApp:
        return Requests(super().build_middleware_stack())
