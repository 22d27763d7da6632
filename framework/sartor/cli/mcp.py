"""`sartor mcp`: serve a bot over the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async
from sartor.errors import BusyError, SartorError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from sartor.bots import Bots

__all__ = ["command"]

log = logging.getLogger("sartor.mcp")


@click.command("mcp")
@click.argument("bot")
@click.option("--http", metavar="HOST:PORT", default="", help="Serve over HTTP on this machine, not over stdio.")
@click.option("--user", default="mcp", show_default=True, help="The id of the user who asks.")
@click.option("--audience", default="", help="The kind of user, where the bot tells several apart.")
@click.option("--language", default="", help="The user's language, one of the bot's. Default: its first.")
@project_option
@run_async
async def command(bot: str, http: str, user: str, audience: str, language: str, project: Path | None) -> None:
    """Serve BOT (TENANT/BOT) as an MCP server: a tool to ask it, one to search its documents, and the documents.

    Over stdio, an MCP client starts this command. With --http it listens at http://HOST:PORT/mcp for this machine
    alone, since it asks for no key; `sartor serve` serves every bot over MCP, with keys.
    """
    from sartor.bots import open_project

    place = _loopback(http) if http else None
    _needs_sdk()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from sartor.mcpserver import loopback_app, mcp_server, serve_stdio

    async with open_project(find_project(project)) as bots:
        with _stdout_kept():
            _check(bots, bot, audience, language)
            server = mcp_server(bots, bot, user=user, audience=audience, language=language)
        async with _warming(bots, bot):
            if place is not None:
                await _listen(loopback_app(server, place[0]), *place)
            else:
                _leave_on_signals(bots)
                await serve_stdio(server)


def _loopback(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--http takes HOST:PORT, not {text!r}", remedy="Write 127.0.0.1:8765, for example.")
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near:
        raise UsageError(
            f"`sartor mcp` asks for no key, so it does not listen at {host!r}",
            remedy="Listen at 127.0.0.1, or let `sartor serve` serve the bot at /mcp/TENANT/BOT, with a key.",
        )
    return host, int(port)


def _needs_sdk() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise UsageError("the MCP SDK is not installed", remedy="Run: pip install 'sartor[mcp]'") from error


def _check(bots: Bots, bot_id: str, audience: str, language: str) -> None:
    spec = bots[bot_id].spec
    for kind, name, known in (("audience", audience, list(spec.audiences)), ("language", language, spec.languages)):
        if name and name not in known:
            raise UsageError(f"{bot_id} knows no {kind} {name!r}", remedy=f"It knows: {', '.join(known) or 'none'}.")


@contextlib.contextmanager
def _stdout_kept() -> Iterator[None]:
    """Keep standard output for the protocol: what a plugin prints while it is built goes to standard error. While
    it serves, the SDK sees to that."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _leave_on_signals(bots: Bots) -> None:
    """On Ctrl-C or SIGTERM, commit the turns that run, then end: the SDK's thread that waits for standard input
    cannot be told to stop."""
    leaving: list[asyncio.Task[None]] = []

    async def leave() -> None:
        try:
            await bots.close()
        finally:
            os._exit(130)

    def begin() -> None:
        if leaving:
            os._exit(130)
        leaving.append(asyncio.create_task(leave()))

    for which in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(which, begin)


@contextlib.asynccontextmanager
async def _warming(bots: Bots, bot_id: str) -> AsyncIterator[None]:
    """Load the model meanwhile: clients do not wait long for a server to greet them."""

    async def warm() -> None:
        try:
            await bots.start(bot_id)
        except SartorError as error:
            log.error("%s cannot answer yet: %s", bot_id, error)

    task = asyncio.create_task(warm())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _listen(app: ASGIApp, host: str, port: int) -> None:
    import uvicorn

    settings = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(settings)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"http://{shown}:{port}/mcp (Ctrl-C ends it)", err=True)
    try:
        await server.serve()
    except SystemExit as error:
        raise BusyError(f"port {port} of {host} cannot be listened at", remedy="Choose another port.") from error
