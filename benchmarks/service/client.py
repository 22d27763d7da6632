"""A client that costs little, so that the servers are measured: HTTP/1.1 on bare asyncio streams."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["Answer", "Target", "ask", "get", "opened"]


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    port: int
    headers: str = ""
    """Further header lines, each with its end."""


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    status: int
    first: float
    """Seconds to the first piece of text."""
    total: float
    finished: bool = False


@asynccontextmanager
async def opened(target: Target, text: str) -> AsyncIterator[asyncio.StreamReader]:
    """A request for a streamed turn, and what can be read of its answer."""
    for attempt in range(50):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=2**18)
            break
        except OSError:
            if attempt == 49:
                raise
            await asyncio.sleep(0.1)
    body = json.dumps({"bot": "support", "text": text, "stream": True})
    head = f"POST /v1/turns HTTP/1.1\r\nHost: x\r\n{target.headers}Connection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    try:
        yield reader
    finally:
        writer.close()


async def ask(target: Target, text: str) -> Answer:
    """One streamed turn, read to its end."""
    began = time.perf_counter()
    first = 0.0
    finished = False
    async with opened(target, text) as reader:
        status = int((await reader.readline()).split()[1])
        while line := await reader.readline():
            if not first and b"event: delta" in line:
                first = time.perf_counter() - began
            finished = finished or b"event: finished" in line
    return Answer(status, first, time.perf_counter() - began, finished)


async def get(target: Target, path: str) -> dict[str, float]:
    """A small JSON answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=2**24)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{target.headers}Connection: close\r\n\r\n".encode())
    whole = await reader.read()
    writer.close()
    told: dict[str, float] = json.loads(whole.partition(b"\r\n\r\n")[2])
    return told
