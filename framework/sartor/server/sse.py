"""Server-sent events: a response that streams, and stops its source at once when the client is gone.

The format is that of the HTML standard, section 9.2, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import suppress
from typing import TypeVar

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from sartor.server.failures import Failure

__all__ = ["EventStream", "event_bytes", "unless_gone"]

T = TypeVar("T")

_PING = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy thinks the stream dead."""


def event_bytes(data: object, *, name: str = "", id_: str = "") -> bytes:
    """One event. `data` is text as it is, or anything that JSON can hold."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = (f"id: {id_}\n" if id_ else "") + (f"event: {name}\n" if name else "")
    body = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"{head}{body}\n".encode()


class EventStream(Response):
    """Streams what `source` yields, as it comes. The source is closed when the client goes, or takes nothing for
    `stall_seconds`.

    `first` is what the source has yielded already: so that its first step may still fail in another way.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        source: AsyncGenerator[bytes],
        *,
        stall_seconds: float,
        headers: Mapping[str, str] | None = None,
        first: bytes = b"",
    ) -> None:
        self._source = source
        self._first = first
        self._stall = stall_seconds
        self._sending = asyncio.Lock()
        self._quiet = True
        told = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})}
        super().__init__(headers=told)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        works = [asyncio.create_task(work) for work in (self._pump(send), self._ping(send), _gone(receive))]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            results = await asyncio.gather(*works, return_exceptions=True)
            await self._source.aclose()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, TimeoutError | OSError):
                raise result

    async def _pump(self, send: Send) -> None:
        if self._first:
            await self._send(send, self._first)
        async for piece in self._source:
            await self._send(send, piece)
        await self._send(send, b"", more=False)

    async def _ping(self, send: Send) -> None:
        while True:
            self._quiet = True
            await asyncio.sleep(_PING)
            if self._quiet:
                await self._send(send, b": still here\n\n")

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        self._quiet = False
        async with self._sending, asyncio.timeout(self._stall):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def unless_gone(request: Request, work: Coroutine[object, object, T]) -> T:
    """What `work` gives; it is cancelled when the client goes meanwhile. The request's body must have been read."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request.receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Failure(499, "the client went away", code="client_gone")
        return task.result()
    finally:
        for one in (task, watch):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
