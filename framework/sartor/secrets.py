"""Secrets by reference: ``env:NAME`` or ``file:PATH`` in a YAML file, never the secret itself."""

from __future__ import annotations

import os
from pathlib import Path

from sartor.errors import UsageError

__all__ = ["resolve_secret"]


def resolve_secret(reference: str, directory: Path) -> str:
    """The secret that `reference` points to; relative paths count from `directory`.

    Raises `UsageError` when it is not a reference, or points to nothing. The message never repeats what
    stands in its place, which may be the secret itself.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        if value := os.environ.get(name):
            return value
        raise UsageError(f"the environment variable {name} is not set", remedy=f"export {name}=…")
    if kind == "file" and name:
        path = directory / name
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the secret file {path} cannot be read: {error}") from error
    raise UsageError(
        "a secret stands in the file itself",
        remedy="Write env:NAME (an environment variable) or file:PATH (a file with the secret) instead.",
    )
