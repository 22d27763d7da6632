"""`sartor plugin check`: whether a plugin is sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import UsageError

if TYPE_CHECKING:
    from sartor.values import JSONValue

__all__ = ["command"]

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


@click.command("check")
@click.argument("target", default=".")
@click.option(
    "-s", "--set", "given", multiple=True, metavar="KEY=VALUE", help="A setting of the plugin, as JSON or text."
)
@click.option("--types/--no-types", default=True, help="Whether mypy runs, where it is installed. Default: yes.")
@project_option
def command(target: str, given: tuple[str, ...], types: bool, project: Path | None) -> None:
    """Check the plugins of a package's folder TARGET, or the installed plugin of that name. Exit code 1 on faults.

    Looked at: settings, hooks, hook versions, what it gives, Sartor's suite for its kind, its own tests, types.
    """
    from sartor.plugincheck import check, targets

    settings = dict(map(_setting, given))
    wrong = False
    for one in targets(target, find_project(project)):
        click.secho(one.name, fg="cyan", bold=True)
        for finding in check(one, settings, types=types):
            mark, colour = _MARKS[finding.state]
            first, *rest = finding.found.splitlines() or [""]
            click.echo(f"{click.style(mark, fg=colour)} {finding.what:<14} {first}")
            for line in rest:
                click.echo(f"  {'':<14} {line.strip()}")
            wrong = wrong or finding.state == "bad"
    if wrong:
        raise SystemExit(1)


def _setting(given: str) -> tuple[str, JSONValue]:
    key, equals, value = given.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {given!r} is not KEY=VALUE")
    try:
        told: JSONValue = json.loads(value)
    except ValueError:
        told = value
    return key, told
