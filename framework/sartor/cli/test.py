"""`sartor test`: the conversation tests of bots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async, write_file
from sartor.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from sartor.rehearsal.run import Mode, Result, TurnResult
    from sartor.rehearsal.smoke import Finding

__all__ = ["command"]


@click.command("test")
@click.argument("bots", nargs=-1)
@click.option("-k", "only", default="", help="Only conversations whose name contains this.")
@click.option("--record", is_flag=True, help="Note what model and tools say, to play it again.")
@click.option("--replay", is_flag=True, help="Play what was recorded: no model, no tools, the same every time.")
@click.option("-j", "at_once", default=4, show_default=True, type=click.IntRange(1, 64), help="Conversations at once.")
@click.option("--smoke/--no-smoke", default=True, help="The leak canary and the attacks. Not with --replay.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit's XML there.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON there.")
@project_option
@run_async
async def command(
    bots: tuple[str, ...],
    only: str,
    record: bool,
    replay: bool,
    at_once: int,
    smoke: bool,
    junit: Path | None,
    json_file: Path | None,
    project: Path | None,
) -> None:
    """Rehearse the conversations in the folders `tests` of BOTS (TENANT/BOT), or of all, and of their templates.

    Everything runs on a copy of the state that is thrown away: documents are read anew, nothing of it is stored or
    counted. Exit code 1 when an expectation does not hold.
    """
    from sartor.rehearsal.report import as_json, as_junit
    from sartor.rehearsal.run import rehearse
    from sartor.rehearsal.smoke import smoke as attack
    from sartor.rehearsal.stage import open_stage

    if record and replay:
        raise UsageError("--record and --replay exclude each other")
    mode: Mode = "record" if record else "replay" if replay else "live"
    directory = find_project(project)
    results: list[Result] = []
    findings: dict[str, Sequence[Finding]] = {}
    for bot_id in bots or _all(directory):
        async with open_stage(directory, [bot_id]) as stage:
            results += await rehearse(stage, bot_id, mode=mode, only=only, at_once=at_once, progress=_show)
            if smoke and not replay and not only:
                findings[bot_id] = await attack(stage, bot_id)
                _show_findings(bot_id, findings[bot_id])
    for path, text in ((junit, as_junit(results, findings)), (json_file, _json(as_json(results, findings)))):
        if path is not None:
            write_file(path, text)
    _summary(results, findings, directory, only)
    if any(not result.passed for result in results) or any(findings.values()):
        raise SystemExit(1)


def _all(directory: Path) -> list[str]:
    from sartor.project import Project

    return Project(directory).bots()


def _json(told: dict[str, object]) -> str:
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"


def _show(result: Result) -> None:
    """One line for a conversation, and below it what was wrong."""
    from rich.text import Text

    from sartor.cli.render import console

    if result.unfit:
        console.print(Text.assemble(("– ", "dim"), (f"{result.bot}  {result.name}  not held: {result.unfit}", "dim")))
        return
    mark, colour = ("✓", "green") if result.passed else ("✗", "red")
    told = f"  {len(result.turns)} turns · {result.tokens} tokens · {result.seconds:.1f} s"
    console.print(Text.assemble((f"{mark} ", colour), (f"{result.bot}  ", "dim"), result.name, (told, "dim")))
    if result.error:
        console.print(Text(f"    {result.error}", "red"))
    for turn in result.turns:
        for line in _wrong(turn):
            console.print(line)


def _wrong(turn: TurnResult) -> Sequence[Text]:
    from rich.text import Text

    from sartor.cli.render import visible

    if not turn.faults and not turn.differences:
        return []
    lines = [Text.assemble(("    » ", "dim"), (visible(turn.say), "bold"), (f"   {turn.place}", "dim"))]
    for fault in () if turn.differences else turn.faults:  # which would only follow from the differences
        lines.append(Text.assemble(("      ", ""), (f"{fault.key:<9}", "yellow"), ("- ", "green"), fault.expected))
        lines.append(Text.assemble(("               ", ""), ("+ ", "red"), visible(fault.got)))
    colours = {"-": "green", "+": "red", "@": "cyan"}
    for difference in turn.differences:
        lines += [Text(f"      {visible(line)}", colours.get(line[:1], "dim")) for line in difference.splitlines()]
    return lines


def _show_findings(bot_id: str, found: Sequence[Finding]) -> None:
    from rich.text import Text

    from sartor.cli.render import console, visible
    from sartor.rehearsal.smoke import ATTACKS

    mark, colour = ("✗", "red") if found else ("✓", "green")
    what = f"smoke test  canary and {len(ATTACKS)} attacks"
    console.print(Text.assemble((f"{mark} ", colour), (f"{bot_id}  ", "dim"), what))
    for one in found:
        console.print(Text.assemble(("    » ", "dim"), (visible(one.attack).replace("\n", "⏎"), "bold")))
        console.print(Text.assemble(("      ", ""), (one.what, "yellow")))
        console.print(Text.assemble(("      + ", "red"), visible(one.reply)))


def _summary(results: Sequence[Result], findings: dict[str, Sequence[Finding]], directory: Path, only: str) -> None:
    from sartor.cli.render import console

    if not results:
        asked = f" whose name contains {only!r}" if only else ""
        console.print(f"[yellow]there are no conversations{asked}; write them in a bot's folder tests/[/]")
    failed = sum(not result.passed for result in results)
    leaks = sum(bool(found) for found in findings.values())
    colour = "red" if failed or leaks else "green"
    seconds = sum(result.seconds for result in results)
    held = [result for result in results if not result.unfit]
    told = f"{len(held) - failed} of {len(held)} conversations passed"
    told += f", {len(results) - len(held)} not held" if len(held) < len(results) else ""
    told += f", {len(findings) - leaks} of {len(findings)} smoke tests" if findings else ""
    console.print(f"[bold {colour}]{told}[/] [dim]· {seconds:.1f} s · {directory}[/]")
