"""What several commands share: how a project is found, and how an async command runs."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from sartor.errors import DiskError

__all__ = ["find_project", "project_option", "run_async", "write_file"]

P = ParamSpec("P")
T = TypeVar("T")

project_option = click.option(
    "-p",
    "--project",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="The project's folder. Default: the nearest one with a sartor.yaml, from here upwards.",
)


def find_project(given: Path | None) -> Path:
    """`given`, or the nearest folder from here upwards with a `sartor.yaml`, or the folder here."""
    if given is not None:
        return given
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "sartor.yaml").is_file()), here)


def run_async(function: Callable[P, Coroutine[object, object, T]]) -> Callable[P, T]:
    """Run an async command in an event loop of its own."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(function(*args, **kwargs))

    return run


def write_file(path: Path, text: str) -> None:
    """Write what a command was asked to write. Raises `DiskError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
