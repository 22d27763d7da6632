"""`sartor serve`: the HTTP service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import UsageError

__all__ = ["command"]


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port; 0: any free.")
@click.option("--reload", is_flag=True, help="Take changes of files in the next turn, while developing.")
@click.option("--log", default="text", show_default=True, type=click.Choice(["text", "json"]), help="The form of logs.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least level that is logged.",
)
@click.option("--log-content", is_flag=True, help="Log messages of exceptions too, which may hold what users wrote.")
@project_option
def command(
    host: str,
    port: int,
    reload: bool,
    log: Literal["text", "json"],
    log_level: str,
    log_content: bool,
    project: Path | None,
) -> None:
    """Serve the bots of the project over HTTP: OpenAI's API, our own, the widget. /docs describes it."""
    from sartor.asgi import app
    from sartor.project import Project

    try:
        from sartor.server.logs import set_up_logs
        from sartor.server.serving import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving needs the package {error.name!r}, which is not installed", remedy="pip install 'sartor[serve]'"
        ) from error
    root = find_project(project)
    spec = Project(root).spec.service
    set_up_logs(log, level=log_level, content=log_content)
    serve(app(root, reload=reload), host=host, port=port, drain_seconds=spec.drain_seconds)
