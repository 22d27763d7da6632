"""The application: which parts it is put together from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

import sartor
from sartor.bots import Bots
from sartor.server import channels, failures, mcp, operations, widget
from sartor.server.limits import Door
from sartor.server.native import approvals, conversations, documents, feedback, handovers, passages, sessions, turns
from sartor.server.openai import chat, embeddings, models, responses
from sartor.server.openapi import describe
from sartor.server.requests import Requests
from sartor.server.service import Service

__all__ = ["Opener", "build"]

Opener = Callable[[], AbstractAsyncContextManager[Bots]]
"""Opens the project that an application serves."""

_ROUTERS: tuple[APIRouter, ...] = (
    sessions.router,
    conversations.router,
    turns.router,
    approvals.router,
    handovers.router,
    feedback.router,
    passages.router,
    documents.router,
    chat.router,
    models.router,
    embeddings.router,
    responses.router,
    widget.router,
    channels.router,
    mcp.router,
    operations.router,
)


def build(opened: Opener, *, docs: bool = True) -> FastAPI:
    """The application over the project that `opened` gives when the lifespan begins. `docs`: with its description."""

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

    app = _described(lifespan) if docs else FastAPI(openapi_url=None, lifespan=lifespan)
    for router in _ROUTERS:
        app.include_router(router)
    failures.install(app)
    app.add_middleware(Door)
    app.add_middleware(
        CORSMiddleware,  # nothing here is authenticated by cookies, so any page may ask
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Sartor-User"],
        expose_headers=["Retry-After", "X-Request-Id"],
    )
    app.add_middleware(Requests)
    return app


def _described(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """With ``/openapi.json``, and ``/docs``, whose scripts come from here, since the service may be on no internet."""
    app = FastAPIOffline(
        title="Sartor", version=sartor.__version__, lifespan=lifespan, responses=failures.RESPONSES, redoc_url=None
    )
    describe(app)
    return app
