"""`sartor show`: the effective bot, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sartor.cli.options import find_project, project_option

__all__ = ["command"]


@click.command("show")
@click.argument("bot")
@click.option("--json", "as_json", is_flag=True, help="Print the effective bot as JSON, without origins.")
@project_option
def command(bot: str, as_json: bool, project: Path | None) -> None:
    """Show BOT (TENANT/BOT) as it is after all layers: each value with the file and line that it comes from."""
    from sartor.project import Project

    found = Project(find_project(project))
    effective = found.bot(bot)
    data = effective.spec.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return

    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console
    from sartor.layers import Merged

    table = Table(box=None, pad_edge=False, header_style="dim", title=f"{bot}  {effective.spec.title}")
    table.title_justify = "left"
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    colours = {"operator": "blue", "tenant": "green"}
    for key, value in Merged(data).leaves():
        source = effective.source(key)
        place = source.place.replace(f"{found.directory}/", "")
        if effective.template:
            place = place.replace(f"{effective.template.directory}", effective.template.reference)
        colour = "dim" if place == "default" else colours[source.origin.value]
        shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
        table.add_row(".".join(map(str, key)), escape(shown), f"[{colour}]{escape(place)}[/]")
    console.print(table)
