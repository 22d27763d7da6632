"""Model files on this machine: what a plugin tells about one, its hash, and what was found out about it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sartor.errors import ModelError
from sartor.values import JSONValue

__all__ = ["BESIDE", "ModelFacts", "ModelFile", "Notes", "digest", "parts", "size_of"]

BESIDE = ".sartor"
"""The folder beside model files with what is remembered about them, and with downloads that are not complete."""

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says about itself."""

    kind: str = ""
    """What it is good for: ``chat``, ``embeddings``, ``adapter``, or another word of the plugin's."""
    architecture: str = ""
    parameters: int | None = None
    quantization: str = ""
    context: int | None = None
    """Tokens that it was trained to read."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that a plugin's settings name, and how to look into it."""

    path: Path
    """The file; of a split model the first part, ``NAME-00001-of-0000N.gguf``."""
    look: Callable[[], ModelFacts]
    """Reads what the file says about itself. Raises `ModelError` for a file of the wrong kind."""
    sha256: str | None = None
    """The hash that the settings pin it to."""
    pin: tuple[str, ...] = ("sha256",)
    """Where that hash stands, or would stand, in the settings of the plugin."""
    name: str = ""
    """Tells the files of one entry apart, such as a model and its adapters; empty for the model itself."""
    trial: Callable[[], object] | None = None
    """Loads the file where a failure ends nothing, such as in another process; asked before it is pinned. Raises
    `ModelError` when it does not load."""
    bundled: bool = False
    """It comes inside the plugin's package, so there is nothing to pin or to remove."""


def parts(path: Path) -> tuple[Path, ...]:
    """All files of the model at `path`: itself, or every part where it is one part of a split model."""
    match = _PART.fullmatch(path.name)
    if match is None or int(match["number"]) > int(match["count"]):
        return (path,)
    count = int(match["count"])
    numbers = range(1, count + 1)
    return tuple(path.with_name(f"{match['stem']}-{at:05}-of-{count:05}{match['suffix']}") for at in numbers)


def size_of(path: Path) -> int:
    """Bytes of the model at `path`, all parts together. Raises `ModelError` when one cannot be read."""
    return sum(size for _, size, _ in _stamp(path))


def digest(files: Sequence[Path], step: Callable[[int], object] | None = None) -> str:
    """The SHA-256 of files, read one after another: ``digest(parts(path))`` is that of a model.

    `step` is told the bytes of each piece that was read. Raises `ModelError` when a file cannot be read.
    """
    found = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    for file in files:
        try:
            with file.open("rb", buffering=0) as opened:
                while size := opened.readinto(buffer):
                    found.update(view[:size])
                    if step is not None:
                        step(size)
        except OSError as error:
            raise _unreadable(file, error) from error
    return found.hexdigest()


class Notes:
    """What was found out about a model file. It lies beside the file, and is void once the file is another.

    Make it before looking at the file: what is then added counts for the file as it was at that time. A folder
    that cannot be written to keeps no notes.
    """

    def __init__(self, path: Path) -> None:
        """Raises `ModelError` when the file, or a part of it, cannot be read."""
        self._file = _notes_file(path)
        self._stamp: list[list[str | int]] = [list(part) for part in _stamp(path)]

    def read(self) -> dict[str, JSONValue]:
        """What is known; empty when nothing is, or the file has changed since."""
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(kept, dict) or kept.pop("files", None) != self._stamp:
            return {}
        return kept

    def add(self, **facts: JSONValue) -> None:
        """Remember `facts`, beside those that are known."""
        text = json.dumps({"files": self._stamp, **self.read(), **facts}, indent=1)
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=".note-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(name, self._file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    @staticmethod
    def forget(path: Path) -> None:
        """Delete what is remembered about the file `path`, which may be gone."""
        with contextlib.suppress(OSError):
            _notes_file(path).unlink(missing_ok=True)


def _notes_file(path: Path) -> Path:
    return path.parent / BESIDE / f"{path.name}.json"


def _stamp(path: Path) -> Sequence[tuple[str, int, int]]:
    found = []
    for part in parts(path):
        try:
            status = part.stat()
        except OSError as error:
            raise _unreadable(part, error) from error
        found.append((part.name, status.st_size, status.st_mtime_ns))
    return found


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"the model cannot be read: {error.strerror or error}", where=str(path))
