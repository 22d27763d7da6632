"""The two servers that are compared, each in a process of its own: ``python -m benchmarks.service.server KIND PORT``.

Both stream the pieces of one scripted reply. `ours` is a project with a scripted model behind all that a turn has;
`bare` is a FastAPI endpoint that yields the pieces, and stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

__all__ = ["PIECES", "PLUGIN", "PROJECT"]

PIECES = 20
"""Pieces of a reply, of 12 characters each."""

PROJECT = """
model: scripted
models: {scripted: {plugin: scripted}}
embeddings: null
service: {turns: 1100, tenant_turns: 1100, requests: 1200}
"""

PLUGIN = '''
"""A model that says the same pieces again and again; after "wait" it says one piece and then nothing."""
import asyncio, time
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from sartor import Plugin, hookimpl

STOPPED = {}

class Endless(BaseChatModel):
    @property
    def _llm_type(self):
        return "endless"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        asked = messages[-1].text
        try:
            for at in range(20):
                yield ChatGenerationChunk(message=AIMessageChunk(content=f"piece {at:>5} "))
                if asked.startswith("wait"):
                    await asyncio.sleep(3600)
                await asyncio.sleep(0)
        finally:
            if asked.startswith("wait"):
                STOPPED[asked] = time.monotonic()

class Scripted(Plugin):
    @hookimpl
    def sartor_model(self):
        return Endless()
'''


def ours(folder: Path) -> FastAPI:
    """Our service, and when the model was stopped."""
    from sartor import asgi

    app = asgi.app(folder)

    @app.get("/stopped")
    async def stopped() -> dict[str, float]:
        module = next(module for name, module in sys.modules.items() if name.startswith("sartor_project_plugins"))
        return dict(module.STOPPED)

    return _with_size(app)


def bare() -> FastAPI:
    """A bare FastAPI endpoint that reads JSON and streams the pieces as server-sent events."""
    app = FastAPI()
    halted: dict[str, float] = {}

    @app.post("/v1/turns")
    async def turns(request: Request) -> StreamingResponse:
        asked = await request.json()

        async def pieces() -> AsyncIterator[bytes]:
            try:
                for at in range(PIECES):
                    yield b"event: delta\ndata: " + json.dumps({"text": f"piece {at:>5} "}).encode() + b"\n\n"
                    if asked["text"].startswith("wait"):
                        await asyncio.sleep(3600)
                    await asyncio.sleep(0)
                yield b"event: finished\ndata: {}\n\n"
            finally:
                halted[asked["text"]] = time.monotonic()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @app.get("/stopped")
    async def stopped() -> dict[str, float]:
        return halted

    return _with_size(app)


def _with_size(app: FastAPI) -> FastAPI:
    @app.get("/size")
    def size() -> dict[str, float]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {"mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20}

    return app


def main() -> None:
    """Serve."""
    kind, port = sys.argv[1], int(sys.argv[2])
    app = bare() if kind == "bare" else ours(Path(sys.argv[3]))
    uvicorn.run(app, port=port, log_level="error", access_log=False, backlog=16384)


if __name__ == "__main__":
    main()
