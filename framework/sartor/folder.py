"""Which files of a knowledge folder are documents, and which are passed over and why."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Found", "Skipped", "find_documents"]

_AUDIENCE = "audience="


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read."""

    path: Path
    source: str
    """Its path relative to the knowledge folder, with forward slashes."""
    audience: str = ""
    """From a folder ``audience=NAME`` above it; the innermost counts."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is passed over, and why."""

    source: str
    reason: str


def find_documents(
    folder: Path, paths: Sequence[Path] | None, suffixes: frozenset[str]
) -> tuple[list[Found], list[Skipped]]:
    """The documents below `folder`, or only those at `paths`, in the order of their names.

    Hidden files, links that leave the folder, and files without a reader for their suffix are passed over.
    A missing folder holds no documents. Raises `KnowledgeError` for a path that is not below `folder`.
    """
    root = folder.resolve()
    found: list[Found] = []
    skipped: list[Skipped] = []
    for path in sorted(set(_candidates(folder, paths))):
        source = path.relative_to(folder).as_posix()
        reason = _objection(path, root, source, suffixes)
        if reason:
            skipped.append(Skipped(source, reason))
        else:
            found.append(Found(path, source, _audience(source)))
    return found, skipped


def _candidates(folder: Path, paths: Sequence[Path] | None) -> Iterator[Path]:
    """Every file below `folder`, or at or below `paths`, spelt as a path below `folder`."""
    if paths is None:
        yield from _walk(folder)
        return
    for given in paths:
        path = folder / os.path.relpath(os.path.abspath(given), os.path.abspath(folder))
        path = Path(os.path.normpath(path))
        if not path.is_relative_to(folder):
            raise KnowledgeError(
                f"{given} is not in the bot's knowledge folder", remedy=f"Copy it to {folder}, then ingest again."
            )
        if not path.exists():
            raise KnowledgeError(f"There is no file or folder {given}")
        yield from _walk(path) if path.is_dir() and not path.is_symlink() else [path]


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        yield from (Path(directory, name) for name in [*files, *links])


def _objection(path: Path, root: Path, source: str, suffixes: frozenset[str]) -> str:
    """Why the file is passed over; empty if it is not."""
    if any(part.startswith((".", "~$")) for part in source.split("/")):
        return "hidden"
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as exc:
        return f"cannot be opened: {getattr(exc, 'strerror', None) or exc}"
    if not target.is_relative_to(root):
        return "a link that leaves the knowledge folder"
    if not stat.S_ISREG(mode):
        return "a link to a folder" if stat.S_ISDIR(mode) else "not a regular file"
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        return f"no reader for {suffix} files" if suffix else "no suffix, so no reader"
    return ""


def _audience(source: str) -> str:
    names = [part.removeprefix(_AUDIENCE) for part in source.split("/")[:-1] if part.startswith(_AUDIENCE)]
    return names[-1] if names else ""
