"""Checks a GGUF file before the library opens it."""

from __future__ import annotations

import struct
from pathlib import Path

from sartor.errors import ModelError
from sartor.modelfile import digest, parts

__all__ = ["check"]

_VERSIONS = (2, 3)


def check(path: Path, sha256: str | None = None) -> None:
    """Make sure that `path` is a GGUF file, and the one that was meant where `sha256` is given.

    Of a split model, `path` is the first part, all parts are checked, and the hash is that of all of them one after
    another. Raises `ModelError` naming the file and the remedy. It does not look at the weights: a damaged file can
    load and answer nonsense, which only the hash excludes.
    """
    files = parts(path)
    if path != files[0]:
        raise ModelError("this is a part of a split model", where=str(path), remedy=f"Name its first: {files[0].name}")
    for file in files:
        _check_start(file, len(files))
    if sha256 is not None and (found := digest(files)) != sha256.lower():
        remedy = "Restore the file that the setting `sha256` was made for, or change the setting on purpose."
        raise ModelError(f"the file's SHA-256 is {found}, not {sha256.lower()}", where=str(path), remedy=remedy)


def _check_start(path: Path, count: int) -> None:
    where = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except IsADirectoryError as error:
        raise ModelError("this is a folder, not a model", where=where, remedy="Name the .gguf file in it.") from error
    except OSError as error:
        remedy = "Set `path` to a .gguf file; it counts from the folder of the YAML file."
        if count > 1:
            remedy = f"The model is split into {count} files, which belong into one folder."
        raise ModelError(f"the model cannot be read: {error.strerror}", where=where, remedy=remedy) from error
    if head[:4] != b"GGUF":
        kind = "a Git LFS pointer" if head.startswith(b"version https://git-lfs") else "not GGUF"
        raise ModelError(f"the file is {kind}", where=where, remedy="Download the model's .gguf file itself.")
    if len(head) < 24:
        raise ModelError("the file is cut off", where=where, remedy="Download it again.")
    (version,) = struct.unpack("<I", head[4:8])
    if version not in _VERSIONS:
        raise ModelError(f"GGUF version {version} is unknown", where=where, remedy="Convert the model anew.")
