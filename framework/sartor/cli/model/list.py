"""`sartor model list`: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.text import Text

    from sartor.inventory import Inventory, Item
    from sartor.modelfile import ModelFile

__all__ = ["command"]


_HEADINGS = ("model", "file", "size", "kind", "weights", "quant", "context", "hash")
_WIDE = 100
"""Columns of a terminal from which on a file's path has a column of its own; below, it stands under the name."""
_NARROW = 72
_SPARED = ("kind", "weights", "quant", "context")
"""What is left out below so many columns."""


@click.command("list")
@project_option
def command(project: Path | None) -> None:
    """List the models of sartor.yaml, and the files of the models folder that none of them uses.

    A hash is `verified` when `sartor model verify` has compared it and the file has not changed since; `pinned` when it
    is compared at each start.
    """
    from rich.table import Table
    from rich.text import Text

    from sartor.cli.render import console
    from sartor.inventory import Inventory
    from sartor.project import Project

    inventory = Inventory(Project(find_project(project)))
    with console.status("[dim]looking…[/]"):
        items = [*inventory.named(), *inventory.loose()]
    stacked, short = console.width < _WIDE, console.width < _NARROW
    table = Table(box=None, pad_edge=False, header_style="dim")
    kept = [at for at, heading in enumerate(_HEADINGS) if not (short and heading in _SPARED)]
    for at in kept:
        heading = _HEADINGS[at]
        if heading != "file" or not stacked:
            fold = heading == ("model" if stacked else "file")
            side: JustifyMethod = "right" if heading in ("size", "weights", "context") else "left"
            table.add_column(heading, justify=side, no_wrap=not fold, overflow="fold")
    for item in items:
        cells = _row(inventory, item)
        cells += [Text()] * (len(_HEADINGS) - len(cells))
        name, file, *others = (cells[at] for at in kept)
        table.add_row(*([Text("\n").join([name, file])] if stacked else [name, file]), *others)
    console.print(table)
    for hint in _hints(items):
        console.print(hint, soft_wrap=True)


def _row(inventory: Inventory, item: Item) -> list[Text]:
    from rich.filesize import decimal
    from rich.text import Text

    from sartor.cli.model.show import count, tokens
    from sartor.errors import SartorError
    from sartor.modelfile import size_of

    speaks = item.key == ("models", inventory.project.spec.model) and not (item.file and item.file.name)
    name = Text.assemble((item.name, "bold cyan" if speaks else "cyan"), (" ●" if speaks else "", "green"))
    if not item.key:
        name = Text("not used", "dim")
    if item.file is None:
        told = item.fault.what if item.fault else f"plugin {item.plugin}"
        return [name, Text(told, "red" if item.fault else "dim")]
    shown = Text("comes with Sartor" if item.file.bundled else inventory.shown(item.file.path), "dim")
    try:
        size = size_of(item.file.path)
        facts = item.file.look()
    except SartorError as error:
        state = "unreadable" if item.file.path.exists() else "missing"
        return [name, Text.assemble(shown, (f"\n{error.what}", "red")), *[Text()] * 5, Text(state, "red")]
    kind = facts.architecture + ("" if facts.kind == "chat" else f" {facts.kind}")
    cells = [decimal(size), kind, count(facts.parameters), facts.quantization, tokens(facts.context)]
    return [name, shown, *map(Text, cells), _trust(item.file)]


def _trust(file: ModelFile) -> Text:
    from rich.text import Text

    from sartor.modelfile import Notes

    if file.bundled:
        return Text("built in", "dim")
    if file.sha256 is None:
        return Text("not pinned", "yellow")
    found = Notes(file.path).read().get("sha256")
    if found is None:
        return Text("pinned")
    return Text("verified", "green") if found == file.sha256.lower() else Text("differs", "bold red")


def _hints(items: list[Item]) -> list[str]:
    named = [item for item in items if item.key and item.file and not item.file.bundled]
    hints = []
    if any(item.file and item.file.sha256 is None for item in named):
        hints.append("[dim]sartor model pin writes the missing hashes into sartor.yaml.[/]")
    if not named and not any(not item.key for item in items):
        hints.append("[dim]sartor model pull OWNER/NAME brings a model.[/]")
    return hints
