"""`sartor ingest`: read a bot's documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async

if TYPE_CHECKING:
    from sartor.knowledge import IngestReport, Knowledge

__all__ = ["command", "ingest"]


@click.command("ingest")
@click.argument("bot", required=False)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--rebuild", is_flag=True, help="Make the search index anew from the stored text first.")
@project_option
@run_async
async def command(bot: str | None, paths: tuple[Path, ...], rebuild: bool, project: Path | None) -> None:
    """Read the knowledge folder of BOT (TENANT/BOT), or only PATHS in it; without BOT, of every bot.

    Unchanged files are skipped, changed ones replaced, vanished ones forgotten. A file that cannot be read is named
    and skipped, and the exit code is then 1.
    """
    from sartor.bots import open_project

    failed = False
    async with open_project(find_project(project)) as bots:
        for bot_id in [bot] if bot else list(bots):
            knowledge = bots.knowledge(bot_id)
            if rebuild:
                chunks = await knowledge.rebuild()
                click.echo(f"{bot_id}: index made anew from {chunks} stored passages")
            report = await ingest(knowledge, bot_id, paths)
            failed = failed or bool(report.skipped)
            await knowledge.close()
    if failed:
        raise SystemExit(1)


async def ingest(knowledge: Knowledge, bot_id: str, paths: tuple[Path, ...] = ()) -> IngestReport:
    """Ingest with a progress bar, and print what was done."""
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from sartor.cli.render import console
    from sartor.knowledge import IngestStep

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[source]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(bot_id, total=None, source="")

        def step(done: IngestStep) -> None:
            progress.update(task, total=done.total, completed=done.done, source=escape(done.source))

        report = await knowledge.ingest(list(paths) or None, progress=step)
    counts = {
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
    }
    told = ", ".join(f"{len(sources)} {action}" for action, sources in counts.items() if sources) or "nothing to do"
    console.print(f"[bold]{bot_id}[/]  {told} · {report.chunks} passages · {report.seconds:.1f} s")
    for source, reason in (report.skipped or {}).items():
        console.print(f"  [yellow]skipped[/] {escape(source)}: {escape(reason)}")
    return report
