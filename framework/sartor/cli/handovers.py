"""`sartor handovers`: the conversations that people have."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async

if TYPE_CHECKING:
    from sartor.handover.desk import Desk

__all__ = ["command"]

_by = click.option("--by", default="", help="Who says it. Default: the name of your account.")


@click.group("handovers")
def command() -> None:
    """See which conversations wait for a person, answer in them, and give them back to the bot."""


@command.command("list")
@click.argument("tenant")
@project_option
@run_async
async def list_(tenant: str, project: Path | None) -> None:
    """List the conversations of TENANT that people have, the oldest first."""
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console

    async with _desk(project, tenant) as desk:
        found = await desk.open()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("id", no_wrap=True, min_width=32)  # it is copied from here
    for heading in ("bot", "user", "since", "taken by", "why"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "since")
    for one in found:
        by = escape(one.taken_by) or "[yellow]nobody yet[/]"
        table.add_row(one.id, one.bot, escape(one.user), f"{one.since:%m-%d %H:%M}", by, escape(one.reason))
    console.print(table if found else f"[dim]Nobody waits for a person at {tenant}.[/]")


@command.command("show")
@click.argument("tenant")
@click.argument("handover")
@project_option
@run_async
async def show(tenant: str, handover: str, project: Path | None) -> None:
    """Show the conversation of HANDOVER."""
    async with _desk(project, tenant) as desk:
        there = await desk.get(handover)
        turns = await desk.turns(handover)
    click.secho(f"{there.user} with {there.tenant}/{there.bot}: {there.reason}", bold=True)
    for stored in turns:
        reply = stored.reply
        if reply.turn.text:
            click.echo(click.style("user  ", fg="cyan") + reply.turn.text)
        if reply.text:
            click.echo(click.style(f"{reply.author or 'bot'}  ", fg="green") + reply.text)
    if there.released:
        click.secho(f"released {there.released:%Y-%m-%d %H:%M} UTC", dim=True)


@command.command("say")
@click.argument("tenant")
@click.argument("handover")
@click.argument("text")
@_by
@project_option
@run_async
async def say(tenant: str, handover: str, text: str, by: str, project: Path | None) -> None:
    """Say TEXT to the user of HANDOVER."""
    async with _desk(project, tenant) as desk:
        await desk.say(handover, text, by=by or getpass.getuser())
    click.echo("said")


@command.command("release")
@click.argument("tenant")
@click.argument("handover")
@_by
@project_option
@run_async
async def release(tenant: str, handover: str, by: str, project: Path | None) -> None:
    """Give the conversation of HANDOVER back to the bot."""
    async with _desk(project, tenant) as desk:
        await desk.release(handover, by=by or getpass.getuser())
    click.echo("released: the bot answers again")


@asynccontextmanager
async def _desk(project: Path | None, tenant: str) -> AsyncIterator[Desk]:
    import sartor
    from sartor.handover.desk import Desk

    async with sartor.open(find_project(project)) as bots:
        yield Desk(bots, tenant)
