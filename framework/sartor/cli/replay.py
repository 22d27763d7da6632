"""`sartor replay`: a real conversation on the present bot."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async

if TYPE_CHECKING:
    from rich.text import Text

    from sartor.values import Reply

__all__ = ["command"]


@click.command("replay")
@click.argument("tenant")
@click.argument("conversation")
@project_option
@run_async
async def command(tenant: str, conversation: str, project: Path | None) -> None:
    """Say what a user of TENANT said in CONVERSATION again, to the bot as it is now, and show what changed.

    Nothing of it is stored. Exit code 1 when something changed.
    """
    from rich.text import Text

    from sartor.cli.render import console, visible
    from sartor.rehearsal.again import repeat

    bot_id, turns = await repeat(find_project(project), tenant, conversation)
    for one in turns:
        mark, colour = ("=", "green") if one.same else ("≠", "yellow")
        console.print(Text.assemble((f"{mark} ", colour), (visible(one.before.turn.text), "bold")))
        for line in () if one.same else _changes(one.before, one.now):
            console.print(line)
    changed = sum(not one.same for one in turns)
    told = f"{changed} of {len(turns)} turns of {bot_id} changed" if changed else f"all {len(turns)} turns are the same"
    console.print(f"[bold {'yellow' if changed else 'green'}]{told}[/]")
    if changed:
        raise SystemExit(1)


def _changes(before: Reply, now: Reply) -> Iterator[Text]:
    from rich.text import Text

    from sartor.cli.render import visible

    lines = difflib.unified_diff(_lines(before), _lines(now), "then", "now", lineterm="", n=0)
    colours = {"-": "red", "+": "green"}
    for line in lines:
        if not line.startswith("@@"):
            yield Text(f"    {visible(line)}", colours.get(line[:1], "dim"))


def _lines(reply: Reply) -> list[str]:
    """What of a reply is compared, a line each."""
    from sartor.rehearsal.expect import flow_line

    return [
        *reply.text.splitlines(),
        f"outcome: {reply.outcome.value}",
        *(f"source: {citation.source}" for citation in reply.citations),
        *(f"tool: {use.call.name}({dict(use.call.arguments)}) gave {use.result.text}" for use in reply.tools),
        *([f"flow: {flow_line(reply.flow)}"] if reply.flow else []),
    ]
