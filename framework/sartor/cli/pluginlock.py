"""`sartor plugins --lock` and `--verify`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["compare", "write"]


def write(directory: Path) -> None:
    """Write the lock of the project in `directory`, and say what has changed since the last one."""
    from sartor.lockfile import LOCK, differences, lock, read_lock, write_lock
    from sartor.project import Project

    now = lock(Project(directory))
    then = read_lock(directory) if (directory / LOCK).is_file() else {}
    for what in differences(then, now) if then else ():
        click.echo(f"  {what}")
    click.secho(f"locked {len(now)} plugins in {write_lock(directory, now)}", fg="green")


def compare(directory: Path) -> None:
    """Compare the project in `directory` with its lock; exit code 1 when they differ."""
    from sartor.lockfile import differences, lock, read_lock
    from sartor.project import Project

    then = read_lock(directory)
    found = list(differences(then, lock(Project(directory))))
    for what in found:
        click.echo(f"{click.style('✗', fg='red')} {what}")
    if found:
        raise SystemExit(1)
    click.echo(f"{click.style('✓', fg='green')} {len(then)} plugins are as they were locked")
