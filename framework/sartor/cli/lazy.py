"""A group of commands that knows them by name, and imports one only when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

__all__ = ["LazyGroup", "lazy"]


class LazyGroup(click.Group):
    """Its commands are modules of one package, each with a `command`."""

    package: str
    known: Mapping[str, str]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.known]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.known:
            return None
        command = importlib.import_module(f"{self.package}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*self.known.items()])


def lazy(package: str, known: Mapping[str, str]) -> type[LazyGroup]:
    """A group whose commands are those modules of `package` that `known` names, each with its one-line help."""
    return type("LazyGroup", (LazyGroup,), {"package": package, "known": known})
