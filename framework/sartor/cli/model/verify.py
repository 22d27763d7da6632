"""`sartor model verify`: are the files those that were pinned?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option

if TYPE_CHECKING:
    from sartor.inventory import Inventory, Item

__all__ = ["chosen", "command"]


@click.command("verify")
@click.argument("names", nargs=-1)
@project_option
def command(names: tuple[str, ...], project: Path | None) -> None:
    """Compare the files of the models NAMES, or of all models in sartor.yaml, with their pinned SHA-256.

    Exit code 1 when one differs, is missing or cannot be read.
    """
    from sartor.inventory import Inventory
    from sartor.project import Project

    inventory = Inventory(Project(find_project(project)))
    good = [_verify(item, inventory.shown(item.file.path)) for item in chosen(inventory, names) if item.file]
    if not good:
        click.secho("No model of sartor.yaml is a file in this project.", dim=True, err=True)
    if not all(good):
        raise SystemExit(1)


def chosen(inventory: Inventory, names: tuple[str, ...]) -> list[Item]:
    """The entries that `names` name, or all that are files of the project. Raises `UsageError`."""
    from sartor.errors import UsageError

    items = list(inventory.named())
    for name in names:
        fitting = [item for item in items if item.answers_to(name)]
        if not fitting:
            known = ", ".join(item.name for item in items) or "none"
            raise UsageError(f"there is no model {name!r} in sartor.yaml", remedy=f"It has: {known}.")
        if fitting[0].fault:
            raise fitting[0].fault
        if fitting[0].file is None:
            raise UsageError(f"the model {name!r} is no file: it comes from the plugin {fitting[0].plugin!r}")
    if not names:
        return [item for item in items if item.file and not item.file.bundled]
    return [item for item in items if any(map(item.answers_to, names))]


def _verify(item: Item, shown: str) -> bool:
    from rich.markup import escape

    from sartor.cli.model.show import hashed
    from sartor.cli.render import console
    from sartor.errors import ModelError

    assert item.file is not None
    pinned = item.file.sha256 and item.file.sha256.lower()
    name = f"[cyan]{escape(item.name)}[/]  {escape(shown)}"
    if item.file.bundled:
        console.print(f"[green]✓[/] {name}  [dim]comes with Sartor[/]")
        return True
    try:
        found = hashed(item.file.path, "verifying")
    except ModelError as error:
        console.print(f"[red]✗[/] {name}  [red]{escape(error.what)}[/]", soft_wrap=True)
        console.print("  [cyan]Put it back, pull it again, or take the entry out of sartor.yaml.[/]", soft_wrap=True)
        return False
    if pinned is None:
        console.print(f"[yellow]![/] {name}  [yellow]not pinned[/]", soft_wrap=True)
        console.print(f"  [cyan]sartor model pin {escape(item.name)} pins it to {found}[/]", soft_wrap=True)
        return True
    if found == pinned:
        console.print(f"[green]✓[/] {name}  [green]verified[/]", soft_wrap=True)
        return True
    console.print(f"[red]✗[/] {name}  [bold red]is another file[/]", soft_wrap=True)
    console.print(f"  [dim]pinned[/]  {pinned}\n  [dim]found[/]   [red]{found}[/]", soft_wrap=True)
    console.print(
        "  [cyan]Put the file back or pull it again. If it was changed on purpose: "
        f"sartor model pin --force {escape(item.name)}[/]",
        soft_wrap=True,
    )
    return False
