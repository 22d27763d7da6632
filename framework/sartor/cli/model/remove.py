"""`sartor model remove`: a model file off the disk."""

from __future__ import annotations

from pathlib import Path

import click

from sartor.cli.options import find_project, project_option
from sartor.errors import DiskError, UsageError

__all__ = ["command"]


@click.command("remove")
@click.argument("file")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also when a model of sartor.yaml uses it.")
@project_option
def command(file: str, yes: bool, force: bool, project: Path | None) -> None:
    """Delete FILE, a file of the models folder; of a split model, all parts.

    Refused when a model of sartor.yaml uses it.
    """
    from rich.filesize import decimal

    from sartor.inventory import Inventory
    from sartor.modelfile import Notes, parts
    from sartor.project import Project

    inventory = Inventory(Project(find_project(project)))
    path = _find(inventory.folder, file)
    users = inventory.users(path)
    if users and not force:
        named = ", ".join(item.name for item in users)
        raise UsageError(
            f"{named} in sartor.yaml {'uses' if len(users) == 1 else 'use'} this file",
            where=inventory.project.file.place(users[0].key),
            remedy="Take the entry out first, or remove the file with --force.",
        )
    files = [part for part in parts(path) if part.exists() or part.is_symlink()]
    size = decimal(sum(part.lstat().st_size for part in files))
    what = inventory.shown(path) if len(files) == 1 else f"{len(files)} files of {inventory.shown(path)}"
    if not yes and not click.confirm(f"Delete {what} ({size})?", default=False):
        click.echo("Nothing was deleted.")
        return
    try:
        for part in files:
            part.unlink()
    except OSError as error:
        raise DiskError(f"cannot be deleted: {error.strerror}", where=str(path)) from error
    Notes.forget(path)
    click.echo(f"Deleted {what}: {size} free again.")


def _find(folder: Path, file: str) -> Path:
    """The file that is meant, or the first part of the split model that it belongs to. Raises `UsageError`."""
    from sartor.modelfile import parts

    for given in (folder / file, Path(file).absolute()):
        path = parts(given.parent.resolve() / given.name)[0]
        if not path.is_relative_to(folder.resolve()):
            continue
        if (path.is_file() or path.is_symlink()) and not path.name.startswith("."):
            return path
    raise UsageError(
        f"there is no file {file!r} in the models folder",
        where=str(folder),
        remedy="`sartor model list` shows the files; what lies elsewhere is yours to delete.",
    )
