"""`sartor model pin`: from now on this file and no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option

if TYPE_CHECKING:
    from sartor.inventory import Inventory, Item

__all__ = ["command"]


@click.command("pin")
@click.argument("names", nargs=-1)
@click.option("--force", is_flag=True, help="Pin anew what is pinned to another file.")
@project_option
def command(names: tuple[str, ...], force: bool, project: Path | None) -> None:
    """Write the SHA-256 of the models NAMES, or of all that are not pinned, into sartor.yaml.

    From then on, any other file is refused. A file is pinned only if it loads, which is tried in another process.
    Comments and layout of sartor.yaml stay as they are.
    """
    from sartor.cli.model.verify import chosen
    from sartor.inventory import Inventory
    from sartor.project import Project

    inventory = Inventory(Project(find_project(project)))
    items = [item for item in chosen(inventory, names) if item.file and (names or item.file.sha256 is None)]
    for item in items:
        _pin(inventory, item, force=force)
    if not items:
        click.secho("Every model file of sartor.yaml is pinned.", dim=True, err=True)


def _pin(inventory: Inventory, item: Item, *, force: bool) -> None:
    from rich.markup import escape

    from sartor.cli.model.show import hashed, tried
    from sartor.cli.render import console
    from sartor.errors import UsageError
    from sartor.yamledit import change_file

    assert item.file is not None
    if item.file.bundled:
        raise UsageError(f"the model {item.name!r} comes with Sartor: there is nothing to pin")
    item.file.look()
    found = hashed(item.file.path)
    pinned = item.file.sha256 and item.file.sha256.lower()
    place = inventory.project.file.place((*item.key, *item.file.pin))
    if pinned not in (None, found) and not force:
        raise UsageError(
            f"{item.name!r} is pinned to another file: {pinned}",
            where=place,
            remedy=f"The file now has {found}. Put the right file back, or pin this one with --force.",
        )
    if pinned != found:
        tried(item.file)
        change_file(inventory.project.file.path, {(*item.key, *item.file.pin): found})
    told = "was pinned" if pinned == found else "pinned"
    console.print(f"[green]✓[/] [cyan]{escape(item.name)}[/]  {told}  [dim]{found}[/]", soft_wrap=True)
