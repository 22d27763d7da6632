"""`sartor plugin`: make a package for a plugin, check one."""

from __future__ import annotations

import click

from sartor.cli.lazy import lazy

__all__ = ["command"]

_COMMANDS = {
    "new": "Make a package for a plugin, with an example that works and its tests.",
    "check": "Check a plugin: settings, hooks, types, Sartor's suites, its own tests.",
}


@click.group("plugin", cls=lazy(__name__, _COMMANDS))
def command() -> None:
    """Make a package for a plugin, and check one. `sartor plugins` lists those that are installed."""
