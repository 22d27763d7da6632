"""`sartor plugins --times`: what each plugin costs when the project starts."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.errors import SartorError

if TYPE_CHECKING:
    from sartor.plugintrace import Note

__all__ = ["show_times"]


def show_times(directory: Path) -> None:
    """Start every bot of the project in `directory` with a state that is thrown away, and print the times."""
    from rich.table import Table

    from sartor.cli.render import console

    notes: list[Note] = []
    faults = asyncio.run(_start(directory, notes))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("plugin")
    for heading in ("import ms", "make ms", "hooks ms", "objects", "together ms"):
        table.add_column(heading, justify="right")
    rows = {name: [note for note in notes if note.plugin == name] for name in {note.plugin for note in notes}}
    for name, own in sorted(rows.items(), key=lambda row: -sum(note.seconds for note in row[1])):
        times = [_ms(own, "import"), _ms(own, "make"), _ms(own, "sartor_"), _ms(own, "")]
        made = sum(note.what == "make" for note in own)
        table.add_row(f"[cyan]{name}[/]", *(f"{ms:.1f}" for ms in times[:3]), str(made), f"{times[3]:.1f}")
    console.print(table)
    console.print("[dim]An import that several plugins need counts for the first; objects are made for each bot.[/]")
    for fault in faults:
        click.echo(f"{click.style('✗', fg='red')} {fault}")
    if faults:
        raise SystemExit(1)


def _ms(notes: Sequence[Note], what: str) -> float:
    return 1000 * sum(note.seconds for note in notes if note.what.startswith(what))


async def _start(directory: Path, notes: list[Note]) -> list[str]:
    from sartor.bots import Bots
    from sartor.plugintrace import watching
    from sartor.project import Project
    from sartor.store import Store

    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sartor-times-") as scratch, watching(notes.append):
        project = Project(directory, scratch=Path(scratch))
        async with await Store.open(project.state_url) as store:
            bots = Bots(project, store)
            try:
                for bot_id in bots:
                    try:
                        bots.knowledge(bot_id)
                        _ = bots[bot_id]
                    except SartorError as error:
                        faults.append(f"{bot_id}: {error}")
            finally:
                await bots.close()
    return faults
