"""The command line. Each command is a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from sartor.errors import SartorError

__all__ = ["cli", "main"]

_COMMANDS = {
    "demo": "Watch two tailored bots answer, look up, refuse; then talk to one.",
    "new": "Make a tenant's bot from a template.",
    "list": "List the tenants and their bots.",
    "ingest": "Read a bot's documents.",
    "chat": "Talk to a bot in the terminal.",
    "ask": "Ask a bot one question.",
    "show": "Show the effective bot, with where each value comes from.",
    "templates": "List the templates that bots are made from.",
    "plugins": "List the plugins, or describe one.",
    "doctor": "Check the installation and the project.",
}


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]  # not `list(…)`: once its module is imported, `list` is the command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"sartor.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*_COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sartor", prog_name="sartor")
def cli() -> None:
    """Chatbots made to measure, one per customer, on models you own."""


def main() -> None:
    """Entry point: runs the command line and turns errors into messages and exit codes (2: bad input)."""
    try:
        code = cli(standalone_mode=False, prog_name="sartor")
    except SartorError as error:
        _complain(error)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: SartorError) -> None:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    if error.where:
        click.secho(f"{error.where}: ", bold=True, err=True, nl=False)
    click.echo(error.what, err=True)
    if error.remedy:
        click.secho(f"  {error.remedy}", fg="cyan", err=True)
    if os.environ.get("SARTOR_DEBUG"):
        raise error
