"""`sartor plugins`: what is installed, and what one of them does."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.cli.pluginlock import compare, write
from sartor.cli.plugintimes import show_times
from sartor.cli.turntimes import show_turn_times
from sartor.errors import UsageError

if TYPE_CHECKING:
    from sartor.plugin import Plugin
    from sartor.plugins import Known

__all__ = ["command"]


@click.command("plugins")
@click.argument("name", required=False)
@click.option("--json-schema", is_flag=True, help="Print the JSON Schema of the settings of NAME, for editors.")
@click.option("--times", is_flag=True, help="Start every bot, and show what each plugin cost: import, making, hooks.")
@click.option("--ask", default="", help="With --times: ask every bot this, and show what each part cost in the turn.")
@click.option("--lock", is_flag=True, help="Write sartor.lock: the plugins that the project names, with hashes.")
@click.option("--verify", is_flag=True, help="Compare the plugins with sartor.lock. Exit code 1 when they differ.")
@project_option
def command(
    name: str | None, json_schema: bool, times: bool, ask: str, lock: bool, verify: bool, project: Path | None
) -> None:
    """List the plugins in reach (none of them is loaded for that), or describe the plugin NAME."""
    asked = sum((json_schema, times, lock, verify))
    if asked > 1 or (asked and (name is not None) is not json_schema):
        raise UsageError("--json-schema goes with the NAME of a plugin; --times, --lock and --verify stand alone")
    if ask and not times:
        raise UsageError("--ask goes with --times")
    if times and ask:
        return show_turn_times(find_project(project), ask)
    if times:
        return show_times(find_project(project))
    if lock:
        return write(find_project(project))
    if verify:
        return compare(find_project(project))
    return _look(name, json_schema, project)


def _look(name: str | None, json_schema: bool, project: Path | None) -> None:
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console
    from sartor.isolation.making import catalog_apart
    from sartor.plugins import Catalog

    root = find_project(project)
    catalog = catalog_apart(root) if name is not None else Catalog(root)
    if name is not None and name in catalog.elsewhere and not json_schema:
        return _describe_isolated(catalog.find(name))
    if name is not None and json_schema:
        return click.echo(json.dumps(catalog.load(name).Settings.model_json_schema(), ensure_ascii=False, indent=2))
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


def _describe_isolated(known: Known) -> None:
    from rich.markup import escape

    from sartor.cli.render import console

    console.print(f"[cyan bold]{known.name}[/]  [dim]{escape(known.source)}[/]")
    console.print("It is isolated: its code is not trusted, and was not run to show more of it.")
    console.print("[dim]Its limits stand under isolated_plugins in sartor.yaml. It may bring tools only.[/]")


def _describe(plugin: type[Plugin], known: Known) -> None:
    from rich.markup import escape
    from rich.table import Table

    from sartor.cli.render import console

    console.print(f"[cyan bold]{known.name}[/]  [dim]{escape(known.source)}[/]")
    console.print(inspect.cleandoc(plugin.__doc__ or ""), markup=False)
    hooks = [hook for hook in dir(plugin) if hasattr(getattr(plugin, hook), "sartor_impl")]
    console.print(f"\n[dim]hooks[/]  {', '.join(hooks)}")
    console.print(f"[dim]made for hook version[/]  {escape(plugin.hook_versions or 'any')}\n")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("setting", "type", "default", "meaning"):
        table.add_column(heading)
    for field_name, field in plugin.Settings.model_fields.items():
        default = "must be given" if field.is_required() else repr(field.get_default(call_default_factory=True))
        kind = inspect.formatannotation(field.annotation).replace("typing.", "")
        table.add_row(f"[cyan]{field_name}[/]", escape(kind), escape(default), escape(field.description or ""))
    console.print(table if plugin.Settings.model_fields else "[dim]It takes no settings.[/]")
