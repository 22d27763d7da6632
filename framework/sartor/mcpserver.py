"""A bot as a server of the Model Context Protocol, over stdio or HTTP.

Imported only when a bot is served so: the official SDK costs a second. Every question is a turn of the bot like any
other; what is searched or read goes past the same policies (see `sartor.shelf`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from importlib.metadata import version
from itertools import count
from typing import TypeVar
from urllib.parse import quote, unquote

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextResourceContents,
)
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from sartor.bots import Bots
from sartor.errors import NamingError, OverloadedError, SartorError, UsageError
from sartor.mcptools import ASK, SEARCH, Query, Question, answered, found, input_schema, refused, tools, wrong
from sartor.shelf import Shelf
from sartor.values import Delta, Event, Finished, Reply, ToolStarted

__all__ = ["Asked", "BotServer", "loopback_app", "mcp_server", "serve_request", "serve_stdio"]

log = logging.getLogger("sartor.mcp")
_SDK_LOG = logging.getLogger("mcp.server.streamable_http_manager")

Asked = Callable[[str, str], AsyncGenerator[Event]]
"""The events of a turn, for a question and a conversation (empty: a new one)."""

T = TypeVar("T")

BotServer = Server[dict[str, object]]
"""The SDK's server, with a bot behind it."""

Requested = ServerRequestContext[dict[str, object]]

_PROGRESS_SECONDS = 0.2
"""A caller is told of progress at most so often: each time, all the text so far."""
_PAGE = 100
"""Documents that are listed at once."""
_BODY_BYTES = 1 << 20


def mcp_server(
    bots: Bots,
    bot_id: str,
    *,
    user: str,
    audience: str = "",
    language: str = "",
    documents: bool = True,
    asked: Asked | None = None,
) -> BotServer:
    """A server of one bot for one user. `documents` offers its documents too: a tool to search, and resources.

    `asked` begins turns in another way than `Bot.stream`. Raises as ``bots[bot_id]`` does.
    """
    bot = bots[bot_id]
    asked = asked or (
        lambda text, conversation: bot.stream(
            text, user=user, conversation=conversation, audience=audience, language=language
        )
    )
    shelf = Shelf(bots, bot_id, user=user, audience=audience, language=language)
    desk = _Desk(bots, bot_id, user, asked, shelf if documents and bot.spec.retrieval.passages else None)
    return Server(
        bot_id,
        version=version("sartor"),
        title=bot.spec.title or None,
        get_tool_input_schema=input_schema,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources if desk.shelf else None,
        on_read_resource=desk.read_resource if desk.shelf else None,
    )


async def serve_stdio(server: BotServer) -> None:
    """Serve whoever holds the other end of standard input and output, until it is closed."""
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def serve_request(server: BotServer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request. Nothing of it is kept, so any replica may answer the next."""
    _SDK_LOG.setLevel(logging.WARNING)  # it tells at each beginning and end of a server, here of a request
    requests = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=_BODY_BYTES)
    async with requests.run():
        await requests.handle_request(scope, receive, send)


def loopback_app(server: BotServer, host: str) -> ASGIApp:
    """An application for this machine alone, at ``/mcp``: other `Host` and `Origin` headers are refused."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}
    hosts = [told for name in names for told in (name, f"{name}:*")]
    near = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{told}" for told in hosts])
    return server.streamable_http_app(stateless_http=True, max_request_body_size=_BODY_BYTES, transport_security=near)


class _Desk:
    """Answers the requests of one caller."""

    def __init__(self, bots: Bots, bot_id: str, user: str, asked: Asked, shelf: Shelf | None) -> None:
        self.bot = bots[bot_id]
        self.user = user
        self.asked = asked
        self.shelf = shelf
        self.store = bots.store.tenant(self.bot.info.tenant)
        self.home = f"sartor://{self.bot.info.id}/"

    async def list_tools(self, ctx: Requested, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools(self.bot, self.shelf is not None))

    async def call_tool(self, ctx: Requested, params: CallToolRequestParams) -> CallToolResult:
        given = params.arguments or {}
        try:
            if params.name == ASK:
                return await self.ask(ctx, Question.model_validate(given))
            if params.name == SEARCH and self.shelf is not None:
                query = Query.model_validate(given)
                return found(await self.shelf.search(query.query, query.limit))
        except ValidationError as error:
            return wrong(params.name, error)
        except Exception as error:
            return refused(self.told(error))
        raise MCPError(INVALID_PARAMS, f"There is no tool {params.name[:100]!r}")

    async def ask(self, ctx: Requested, question: Question) -> CallToolResult:
        conversation, numbers = question.conversation, count(1)
        if conversation and not await self.store.history(self.bot.info.bot, self.user, conversation, 1):
            raise NamingError("there is no such conversation; leave it out to begin one")

        async def tell(text: str) -> None:
            await ctx.session.report_progress(next(numbers), message=text)

        reply = await _follow(self.asked(question.question, conversation), tell)
        if reply.error:
            why = Exception(reply.error)  # the service's logs leave out what exceptions say: it may quote the user
            log.error("turn %s of %s failed: %s", reply.turn.id, self.bot.info.id, why)
        return answered(reply)

    async def list_resources(self, ctx: Requested, params: PaginatedRequestParams | None) -> ListResourcesResult:
        assert self.shelf is not None
        after = unquote(params.cursor) if params and params.cursor else ""
        known = await self.safely(self.shelf.documents())
        rows = [row for source, row in sorted(known.items()) if source > after]
        listed = [
            Resource(uri=self.home + quote(row.source), name=row.source, title=row.title, mime_type="text/plain")
            for row in rows[:_PAGE]
        ]
        more = quote(listed[-1].name) if len(rows) > _PAGE else None
        return ListResourcesResult(resources=listed, next_cursor=more)

    async def read_resource(self, ctx: Requested, params: ReadResourceRequestParams) -> ReadResourceResult:
        assert self.shelf is not None
        source = unquote(params.uri.removeprefix(self.home).partition("#")[0])
        mine = params.uri.startswith(self.home) and source
        text = await self.safely(self.shelf.read(source)) if mine else ""
        if not text:
            raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": params.uri[:500]})
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type="text/plain", text=text)])

    async def safely(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except Exception as error:
            raise MCPError(INTERNAL_ERROR, self.told(error)) from error

    def told(self, error: Exception) -> str:
        """What the caller may know of an error: its own mistakes, and when to come again."""
        if isinstance(error, NamingError) or type(error) is UsageError:
            return error.what
        if isinstance(error, OverloadedError):
            return f"{self.bot.info.id} has too much to do. Ask again in {max(1, round(error.retry_after))} seconds."
        known = isinstance(error, SartorError)
        log.error("a call of %s over MCP failed: %s", self.bot.info.id, error, exc_info=None if known else error)
        return f"{self.bot.info.id} cannot answer now."


async def _follow(events: AsyncGenerator[Event], tell: Callable[[str], Awaitable[None]]) -> Reply:
    """Follow a turn to its end. One whose caller goes away is stopped, and committed before this returns.

    The turn runs in a task of its own: the SDK cancels again and again until a call is over, and would break into
    the commit.
    """
    came: asyncio.Queue[Event | None] = asyncio.Queue()

    async def run() -> None:
        async with aclosing(events):
            async for event in events:
                came.put_nowait(event)

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: came.put_nowait(None))
    try:
        reply, text, due = None, "", 0.0
        while (event := await came.get()) is not None:
            reply = event.reply if isinstance(event, Finished) else None
            text += event.text if isinstance(event, Delta) else ""
            if isinstance(event, Delta | ToolStarted) and time.monotonic() >= due:
                await tell(text if isinstance(event, Delta) else f"{text}\n{event.call.name} …".lstrip())
                due = time.monotonic() + _PROGRESS_SECONDS
        await task
        assert reply is not None, "a stream ends with Finished or raises"
        return reply
    finally:
        task.cancel()
        with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError, SartorError):
            await task
