"""`sartor list`: the tenants and their bots."""

from __future__ import annotations

from pathlib import Path

import click

from sartor.cli.options import find_project, project_option

__all__ = ["command"]


@click.command("list")
@project_option
def command(project: Path | None) -> None:
    """List the tenants and their bots, one a line: TENANT/BOT, template, title."""
    from sartor.errors import SartorError
    from sartor.project import Project

    found = Project(find_project(project))
    bots = found.bots()
    width = max(map(len, bots), default=0)
    for bot_id in bots:
        try:
            bot = found.bot(bot_id)
        except SartorError as error:
            click.echo(f"{bot_id:<{width}}  " + click.style(str(error).splitlines()[0], fg="red"))
        else:
            click.echo(f"{bot_id:<{width}}  {bot.spec.template or '-':<12}  {bot.spec.title}".rstrip())
    if not bots:
        click.secho("No bots yet. Make one: sartor new TENANT --template support", dim=True, err=True)
