"""`sartor plugin new`: a package for a plugin."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("new")
@click.argument("name")
@click.option(
    "-k",
    "--kind",
    type=click.Choice(["tool", "retrieval", "policy", "model", "channel"]),
    required=True,
    help="What the plugin gives.",
)
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the package's folder is made. Default: here.",
)
def command(name: str, kind: str, directory: Path) -> None:
    """Make the package of a plugin NAME, with a small example that works, and tests that pass."""
    from sartor.pluginscaffold import make_plugin

    made = make_plugin(name, kind, directory)
    click.secho(f"made {made.directory}", fg="green", bold=True)
    for file in made.files:
        click.echo(f"  {file}")
    click.echo(f"next:\n  cd {made.directory}\n  pip install --editable .\n  python -m pytest\n  sartor plugin check .")
