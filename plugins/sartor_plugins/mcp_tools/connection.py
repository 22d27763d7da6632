"""Connections to MCP servers, in a thread with an event loop of their own.

A bot is built by plain functions and may be used in more than one event loop, and the SDK wants a connection to be
opened and closed in one and the same task.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, CallToolResult
from sartor.errors import ToolError

from sartor_plugins.mcp_tools.listing import Told, told_of
from sartor_plugins.mcp_tools.settings import ServerSettings
from sartor_plugins.reach.breaker import Outage

__all__ = ["Connection", "in_background", "wait_for"]

log = logging.getLogger("sartor.mcp-tools")

T = TypeVar("T")

_MOST_PAGES = 50
_MOST_BYTES = 16 * 1024 * 1024
_TAIL = 2000


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="sartor-mcp", daemon=True).start()
    return loop


def in_background(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `work` in the thread of the connections."""
    return asyncio.run_coroutine_threadsafe(work, _loop(os.getpid()))


async def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` there, and wait for it here."""
    return await asyncio.wrap_future(in_background(work))


class Connection:
    """One connection, opened when it is needed, and again after it broke. All of it runs in the background."""

    def __init__(self, name: str, settings: ServerSettings, directory: Path, headers: Mapping[str, str],
                 env: Mapping[str, str]) -> None:  # fmt: skip
        self.name = name
        self.key = hashlib.sha256(json.dumps([dict(headers), dict(env)]).encode()).hexdigest()
        """Tells connections apart that have different credentials."""
        self.listed: Mapping[str, Told] = {}
        self.listed_at = float("-inf")
        """When the list was read, by the clock of the event loop."""
        self._settings = settings
        self._directory = directory
        self._headers = headers
        self._env = env
        self._client: Client | None = None
        self.calls = 0
        """That run just now."""
        self._task: asyncio.Task[None] | None = None
        self._done = asyncio.Event()
        self._lock = asyncio.Lock()
        self._tail = ""

    async def list(self) -> Mapping[str, Told]:
        """What the server's tools say of themselves, now. Raises `Outage`."""
        async with self._lock:
            return await self._list(await self._open())

    async def call(self, tool: str, arguments: dict[str, Any], check: Callable[[Mapping[str, Told]], None],
                   again: bool) -> CallToolResult:  # fmt: skip
        """Call `tool`, after `check` has seen a list that is not old; of one that may not be done twice, a new one.

        One that may is called again when the connection turns out to be broken. Raises `Outage`, and `ToolError` for
        what the server refuses.
        """
        for left in (1, 0):
            client = await self._ready(0 if not again else self._settings.recheck)
            check(self.listed)
            self.calls += 1
            try:
                return await client.call_tool(tool, arguments)
            except MCPError as error:
                if not _broken(error):
                    raise ToolError(f"the server refuses it: {error.message[:500]}") from error
                fault: Exception = error
            except Exception as error:
                fault = error
            finally:
                self.calls -= 1
            await self._drop(client)
            if not (left and again):
                known = "" if again else "; whether it was done is not known"
                raise Outage(f"the connection was lost{known}", remedy=_why(fault)) from fault
        raise AssertionError("unreachable")

    async def _ready(self, oldest: float) -> Client:
        """An open connection whose list is at most `oldest` seconds old."""
        async with self._lock:
            for left in (1, 0):
                kept = self._client is not None
                client = await self._open()
                if asyncio.get_running_loop().time() - self.listed_at < oldest:
                    return client
                try:
                    await self._list(client)
                    return client
                except Outage:  # a connection that was kept may have broken meanwhile
                    if not (left and kept):
                        raise
            raise AssertionError("unreachable")

    async def close(self) -> None:
        """End the connection, and with it the program behind it."""
        task, self._task, self._client = self._task, None, None
        self._done.set()
        if task is not None:
            done, _ = await asyncio.wait({task}, timeout=10)
            if not done:
                task.cancel()

    async def _drop(self, client: Client) -> None:
        if self._client is client:
            await self.close()

    async def _list(self, client: Client) -> Mapping[str, Told]:
        found: dict[str, Told] = {}
        cursor: str | None = None
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                for _ in range(_MOST_PAGES):
                    page = await client.list_tools(cursor=cursor)
                    found |= {tool.name: told_of(tool) for tool in page.tools}
                    if (cursor := page.next_cursor) is None:
                        break
        except Exception as error:
            await self._drop(client)
            raise self._unreachable(error) from error
        self.listed, self.listed_at = found, asyncio.get_running_loop().time()
        return found

    async def _open(self) -> Client:
        if self._client is not None and self._task is not None and not self._task.done():
            return self._client
        await self.close()
        opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._done = asyncio.Event()
        self._task = asyncio.create_task(self._live(opened, self._done), name=f"mcp {self.name}")
        self.listed_at = float("-inf")
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                self._client = await asyncio.shield(opened)
        except BaseException as error:
            opened.cancel()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=10)
            if not isinstance(error, Exception):
                raise
            raise self._unreachable(error) from error
        return self._client

    async def _live(self, opened: asyncio.Future[Client], done: asyncio.Event) -> None:
        """The life of one connection."""
        try:
            async with self._transport() as transport, Client(transport, cache=None) as client:
                if not opened.done():
                    opened.set_result(client)
                await done.wait()
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)
            elif not done.is_set():
                log.warning("the connection to the MCP server %s broke: %s", self.name, _why(error))

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[Any]:
        told = self._settings
        if told.url:
            timeout = httpx2.Timeout(told.start_seconds, read=600)
            headers = {**self._headers, "accept-encoding": "identity"}
            hooks = {"response": [_bounded]}
            async with httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks=hooks) as http:
                yield streamable_http_client(told.url, http_client=http)
            return
        folder = self._directory / told.cwd
        program = StdioServerParameters(command=told.command, args=told.args, env=dict(self._env), cwd=folder)
        with self._errors() as errors:
            yield stdio_client(program, errlog=errors)

    @contextmanager
    def _errors(self) -> Any:
        """A file for what the program says on standard error: it is logged, and the end of it kept."""
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)

        def read() -> None:
            with suppress(BlockingIOError):
                text = os.read(reading, 65_536).decode("utf-8", "replace")
                self._tail = (self._tail + text)[-_TAIL:]
                log.debug("%s: %s", self.name, text.rstrip())
                if not text:
                    loop.remove_reader(reading)

        loop.add_reader(reading, read)
        try:
            with os.fdopen(writing, "w") as file:
                yield file
        finally:
            loop.remove_reader(reading)
            os.close(reading)

    def _unreachable(self, error: Exception) -> Outage:
        last = self._tail.strip().rpartition("\n")[2]
        late = f"no answer within {self._settings.start_seconds:g} seconds"
        told = late if isinstance(error, TimeoutError) else _why(error)
        return Outage("the server cannot be reached", remedy=f"{told}: {last}" if last else told)


class _Bounded(httpx2.AsyncByteStream):
    """An answer that ends with an error when it is too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > _MOST_BYTES:
                raise httpx2.ReadError(f"an answer has more than {_MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bounded(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def _broken(error: MCPError) -> bool:
    """Whether the fault is the connection's. Over HTTP, the SDK tells a server that is gone as a closed connection, or
    a session that it does not know as an error."""
    told = error.message.lower()
    ours = error.code in (INTERNAL_ERROR, INVALID_REQUEST) and ("session" in told or "connect" in told)
    return ours or error.code == CONNECTION_CLOSED


def _why(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:300]
