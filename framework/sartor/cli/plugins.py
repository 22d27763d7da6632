"""`sartor plugins`: what is installed, and what one of them does."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option

if TYPE_CHECKING:
    from sartor.plugin import Plugin
    from sartor.plugins import Known

__all__ = ["command"]


@click.command("plugins")
@click.argument("name", required=False)
@project_option
def command(name: str | None, project: Path | None) -> None:
    """List the plugins in reach (none of them is loaded for that), or describe the plugin NAME."""
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console
    from sartor.plugins import Catalog

    catalog = Catalog(find_project(project))
    if name is not None:
        return _describe(catalog.load(name), catalog.known[name])
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("plugin", "from"):
        table.add_column(heading)
    for known in sorted(catalog.known.values(), key=lambda known: known.name):
        table.add_row(f"[cyan]{known.name}[/]", escape(known.source))
    console.print(table)
    console.print("[dim]sartor plugins NAME shows hooks and settings.[/]")
    return None


def _describe(plugin: type[Plugin], known: Known) -> None:
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console

    console.print(f"[cyan bold]{known.name}[/]  [dim]{escape(known.source)}[/]")
    console.print(inspect.cleandoc(plugin.__doc__ or ""), markup=False)
    hooks = [hook for hook in dir(plugin) if hasattr(getattr(plugin, hook), "sartor_impl")]
    console.print(f"\n[dim]hooks[/]  {', '.join(hooks)}\n")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("setting", "type", "default", "meaning"):
        table.add_column(heading)
    for field_name, field in plugin.Settings.model_fields.items():
        default = "must be given" if field.is_required() else repr(field.get_default(call_default_factory=True))
        kind = inspect.formatannotation(field.annotation).replace("typing.", "")
        table.add_row(f"[cyan]{field_name}[/]", escape(kind), escape(default), escape(field.description or ""))
    console.print(table if plugin.Settings.model_fields else "[dim]It takes no settings.[/]")
