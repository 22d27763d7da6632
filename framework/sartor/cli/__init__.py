"""The command line. Each command is a module of its own, imported when it is called."""

from __future__ import annotations

import os
import sys

import click

from sartor.cli.lazy import lazy
from sartor.errors import SartorError

__all__ = ["cli", "main"]

_COMMANDS = {
    "demo": "Watch two tailored bots answer, look up, refuse; then talk to one.",
    "new": "Make a tenant's bot from a template.",
    "list": "List the tenants and their bots.",
    "ingest": "Read a bot's documents.",
    "chat": "Talk to a bot in the terminal.",
    "ask": "Ask a bot one question.",
    "test": "Rehearse the conversations of bots, and attack them.",
    "compare": "Hold the same conversations on several models, side by side.",
    "replay": "Repeat a real conversation on the present bot, and show what changed.",
    "handovers": "See which conversations wait for a person, and answer in them.",
    "serve": "Serve the bots over HTTP.",
    "key": "Make, list and revoke API keys.",
    "mcp": "Serve a bot over the Model Context Protocol.",
    "show": "Show the effective bot, with where each value comes from.",
    "model": "Pull, list, verify, pin and remove model files.",
    "templates": "List the templates that bots are made from.",
    "plugins": "List the plugins, describe one, lock them, time them.",
    "plugin": "Make a package for a plugin, check one.",
    "doctor": "Check the installation and the project.",
}


@click.group(cls=lazy(__name__, _COMMANDS), context_settings={"help_option_names": ["-h", "--help"]})
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
