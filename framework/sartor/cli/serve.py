"""`sartor serve`: the HTTP service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["command", "reloaded"]

_PROJECT = "SARTOR_PROJECT"


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port; 0: any free.")
@click.option("--reload", is_flag=True, help="Start anew when a file of the project changes, while developing.")
@project_option
def command(host: str, port: int, reload: bool, project: Path | None) -> None:
    """Serve the bots of the project over HTTP: OpenAI's API, our own, the widget. /docs describes it."""
    from sartor.asgi import app
    from sartor.project import Project

    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise UsageError(
            "serving needs uvicorn, which is not installed", remedy="pip install 'sartor[serve]'"
        ) from error
    root = find_project(project)
    spec = Project(root).spec.service
    settings = {
        "host": host,
        "port": port,
        "timeout_graceful_shutdown": int(spec.drain_seconds) + 1,
        "server_header": False,
    }
    if reload:
        os.environ[_PROJECT] = str(root.absolute())
        folders = [str(root.absolute())]
        uvicorn.run(
            "sartor.cli.serve:reloaded",
            factory=True,
            reload=True,
            reload_dirs=folders,
            reload_includes=["*.yaml", "*.py"],
            reload_excludes=["state/*"],
            **settings,  # type: ignore[arg-type]
        )
    else:
        uvicorn.run(app(root), **settings)  # type: ignore[arg-type]


def reloaded() -> FastAPI:
    """The application of a process that `--reload` started."""
    from sartor.asgi import app

    return app(os.environ[_PROJECT])
