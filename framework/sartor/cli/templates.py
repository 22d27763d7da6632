"""`sartor templates`: what bots can be made from."""

from __future__ import annotations

from pathlib import Path

import click

from sartor.cli.options import find_project, project_option

__all__ = ["command"]


@click.command("templates")
@project_option
def command(project: Path | None) -> None:
    """List the templates with the values that they ask for."""
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console
    from sartor.templates import list_templates

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("template", "version", "what for", "values"):
        table.add_column(heading)
    for template in list_templates(find_project(project)):
        spec = template.spec
        values = [f"[bold]{name}[/]" if value.default is None else name for name, value in spec.values.items()]
        table.add_row(
            f"[cyan]{template.reference}[/]",
            spec.version,
            escape(f"{spec.title}: {spec.description}"),
            ", ".join(values),
        )
    console.print(table)
    console.print("[dim]Values in bold must be given.[/]")
