"""A project as an ASGI application: to be served, or mounted in an application that is there already.

::

    app = sartor.asgi.app("project")          # uvicorn module:app

    host = FastAPI(lifespan=…)                # see docs/how-to/mount.md
    host.mount("/bots", sartor.asgi.app(bots))
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sartor.bots import Bots

__all__ = ["app", "running"]


def app(project: Bots | str | Path = ".", *, reload: bool = False) -> FastAPI:
    """The application that serves `project`: a folder, which its lifespan opens and closes, or bots that the host
    opened and goes on to own. With `reload`, a change of the folder's files counts from the next turn on.

    Raises `SpecError` for a faulty `sartor.yaml`, and `UsageError` when the extra ``serve`` is not installed. A host
    that mounts it enters `running` in its own lifespan, since an application that is mounted gets no lifespan events.
    """
    try:
        from sartor.server.app import build
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving needs the package {error.name!r}, which is not installed", remedy="pip install 'sartor[serve]'"
        ) from error
    from sartor.bots import Bots, open_project
    from sartor.project import Project

    if isinstance(project, Bots):
        bots = project

        @asynccontextmanager
        async def opened() -> AsyncIterator[Bots]:
            yield bots

        return build(opened, docs=bots.project.spec.service.docs)
    return build(lambda: open_project(project, reload=reload), docs=Project(Path(project)).spec.service.docs)


@asynccontextmanager
async def running(application: FastAPI) -> AsyncIterator[Bots]:
    """Start `application`, and stop it at the end: for the lifespan of a host that mounts it. Gives its bots."""
    async with application.router.lifespan_context(application):
        yield application.state.sartor.bots
