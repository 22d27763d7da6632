"""`sartor compare`: the same conversations on several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async, write_file
from sartor.errors import UsageError

if TYPE_CHECKING:
    from sartor.rehearsal.run import Result
    from sartor.rehearsal.versus import Standing

__all__ = ["command"]


@click.command("compare")
@click.argument("bots", nargs=-1)
@click.option("--models", required=True, metavar="NAME,NAME", help="Names under models in sartor.yaml.")
@click.option("-k", "only", default="", help="Only conversations whose name contains this.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with charts there.")
@project_option
@run_async
async def command(bots: tuple[str, ...], models: str, only: str, html: Path | None, project: Path | None) -> None:
    """Hold the conversation tests of BOTS (TENANT/BOT), or of all, on several models, and compare them.

    What passed, tokens, seconds, cost. One conversation runs at a time, so that seconds can be compared.
    """
    from sartor.cli.render import console
    from sartor.project import Project
    from sartor.rehearsal.run import rehearse
    from sartor.rehearsal.stage import open_stage
    from sartor.rehearsal.versus import as_page, standing

    directory = find_project(project)
    spec = Project(directory).spec
    names = [name.strip() for name in models.split(",") if name.strip()]
    if unknown := [name for name in names if name not in spec.models]:
        raise UsageError(f"there is no model {unknown[0]!r}", remedy=f"There are: {', '.join(spec.models)}.")
    held: dict[str, list[Result]] = {name: [] for name in names}
    for bot_id in bots or Project(directory).bots():
        async with open_stage(directory, [bot_id]) as stage:
            for name in names:
                with console.status(f"[dim]{bot_id} on {name}…[/]"):
                    results = await rehearse(stage, bot_id, model=name, only=only, at_once=1)
                    held[name] += [result for result in results if not result.unfit]
    standings = [standing(name, held[name], spec.prices.get(name)) for name in names]
    _table(standings)
    if html is not None:
        write_file(html, as_page(standings, held))
        click.echo(f"{html}")


def _table(standings: Sequence[Standing]) -> None:
    from rich.table import Table

    from sartor.cli.render import console

    table = Table("model", box=None, header_style="bold", pad_edge=False)
    for name in ("passed", "tokens read", "tokens said", "seconds a turn", "cost"):
        table.add_column(name, justify="right")
    best = max((one.passed for one in standings), default=0)
    for one in standings:
        colour = "green" if one.passed == best else "yellow"
        table.add_row(
            one.model,
            f"[{colour}]{one.passed} of {one.total}[/]",
            str(one.prompt),
            str(one.generated),
            f"{one.seconds / one.turns:.2f}" if one.turns else "–",
            "–" if one.cost is None else f"{one.cost:.4f}",
        )
    console.print(table)
