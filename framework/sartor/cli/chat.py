"""`sartor chat`: talk to a bot in the terminal."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.listening import Listening
from sartor.cli.options import find_project, project_option, run_async
from sartor.errors import UsageError
from sartor.values import Delta, Finished, FlowNote, Reply, ToolCall, ToolFinished, ToolStarted

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.spec import BotSpec
    from sartor.store import TenantStore

__all__ = ["command", "talk"]

_PROMPT = click.style("\nyou  ", fg="green", bold=True)
_HELP = "/why explains the last turn · /new begins another conversation · /quit or Ctrl-D leaves"


@click.command("chat")
@click.argument("bot")
@click.option("--user", default="anonymous", show_default=True, help="The user's id.")
@click.option("--audience", default="", help="The kind of user, where the bot tells several apart.")
@click.option("--language", default="", help="The user's language, one of the bot's. Default: its first.")
@click.option(
    "--reload/--no-reload", default=True, show_default=True, help="Take changes of the bot's files in the next turn."
)
@project_option
@run_async
async def command(bot: str, user: str, audience: str, language: str, reload: bool, project: Path | None) -> None:
    """Talk to BOT (TENANT/BOT). Replies stream, sources are shown, /why explains the last turn."""
    from sartor.bots import open_project

    async with open_project(find_project(project), reload=reload) as bots:
        with _reloads_told():
            started = await bots.start(bot)
            store = bots.store.tenant(started.info.tenant) if started.spec.hand_over else None
            await talk(started, user=user, audience=audience, language=language, store=store)


async def talk(
    bot: Bot, *, user: str = "anonymous", audience: str = "", language: str = "", store: TenantStore | None = None
) -> None:
    """Read messages from the terminal until it is closed, and stream the bot's replies. With the tenant's `store`,
    what a person says to whom the conversation was handed over is shown."""
    from rich.text import Text

    from sartor.cli.render import console, why

    console.print(Text.assemble((bot.spec.title or bot.info.id, "bold"), (f"  {_HELP}", "dim")))
    last: Reply | None = None
    listening = Listening(store) if store is not None else None
    while (said := await _next(listening)) is not None:
        match said.strip():
            case "":
                continue
            case "/quit" | "/exit":
                return
            case "/new":
                last = None
                _follow(listening, None)
                console.print("[dim]A new conversation.[/]")
            case "/why":
                console.print(why(last) if last else "[dim]Nothing was asked yet.[/]")
            case unknown if unknown.startswith("/"):
                console.print(f"[dim]{_HELP}[/]")
            case message:
                with contextlib.suppress(KeyboardInterrupt):
                    said = _meant(message, last, bot.spec)
                    last = await _turn(bot, said, last, user=user, audience=audience, language=language) or last
                    _follow(listening, last)


@contextlib.contextmanager
def _reloads_told() -> Iterator[None]:
    """Print what was reloaded, or why it was not, in place of logging it."""
    from rich.text import Text

    from sartor.cli.render import console

    class Printed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bad = record.levelno >= logging.WARNING
            console.print(Text(f"{'✗' if bad else '↻'} {record.getMessage()}", style="red" if bad else "dim"))

    log, handler = logging.getLogger("sartor.reload"), Printed()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


def _follow(listening: Listening | None, last: Reply | None) -> None:
    if listening is not None:
        listening.follow(last)


async def _next(listening: Listening | None) -> str | None:
    """The next message; meanwhile, or before it, what a person says."""
    if listening is None or not listening.waits:
        return _read()
    await listening.show()
    return await listening.read(_PROMPT) if sys.stdin.isatty() else _read()


def _read() -> str | None:
    try:
        return input(_PROMPT if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        click.echo()
        return None


def _meant(message: str, last: Reply | None, spec: BotSpec) -> str:
    """The option that a number stands for, where the bot gave some to choose from; else the message itself."""
    options, said = last.flow.options if last and last.flow and _numbered(last.flow, spec) else (), message.strip()
    if said in options or not (said.isascii() and said.isdigit() and 0 < int(said) <= len(options)):
        return message
    return options[int(said) - 1]


def _numbered(note: FlowNote, spec: BotSpec) -> bool:
    """Whether a number can only be that of an option: to "How many?" it is the answer, though that may be skipped."""
    slot = spec.flows[note.name].slots.get(note.slot) if note.name in spec.flows else None
    return slot is not None and slot.type in ("choice", "yes_no")


async def _turn(bot: Bot, message: str, last: Reply | None, *, user: str, audience: str, language: str) -> Reply | None:
    from sartor.cli.render import choices, citations, console, footer, visible

    conversation = last.turn.conversation if last else ""
    waiting = console.status("[dim]thinking…[/]")
    waiting.start()
    try:
        stream = bot.stream(
            message, user=user, conversation=conversation, audience=audience, language=language, approve=_approve
        )
        async with aclosing(stream) as events:
            begun = False
            async for event in events:
                waiting.stop()
                if isinstance(event, Delta):
                    console.print("" if begun else "[bold cyan]bot  [/]", end="")
                    console.print(visible(event.text), end="", markup=False, soft_wrap=True)
                    begun = True
                elif isinstance(event, ToolStarted):
                    console.print(f"  [dim]⚙ {event.call.name}…[/]")
                elif isinstance(event, ToolFinished):
                    console.print(f"  [dim]⚙ {event.result.name}: [/]", end="")
                    console.print(visible(event.result.text[:200]), style="dim", markup=False)
                elif isinstance(event, Finished):
                    console.print()
                    if event.reply.flow and event.reply.flow.options:
                        console.print(choices(event.reply.flow, numbered=_numbered(event.reply.flow, bot.spec)))
                    for line in citations(event.reply):
                        console.print(line)
                    console.print(footer(event.reply))
                    return event.reply
    except UsageError as error:
        console.print(f"[red]{error.what}[/]")
    finally:
        waiting.stop()
    return None


async def _approve(call: ToolCall, reason: str) -> bool:
    told = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    click.echo(f"\n{call.name}({told}) wants approval: {reason}")
    return click.confirm("Run it?", default=False)
