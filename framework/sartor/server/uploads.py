"""Files that come over the network into a bot's knowledge folder."""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sartor.errors import DiskError
from sartor.server.failures import Failure

__all__ = ["FOLDER", "Upload", "check_upload_name", "remove_upload", "upload_of", "write_uploads"]

FOLDER = "uploads"
"""The folder of uploaded files, in a bot's knowledge folder."""

_LONGEST = 150
_FORBIDDEN = frozenset('/\\:*?"<>|')


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent."""

    name: str
    content: bytes


def check_upload_name(name: str, suffixes: Collection[str]) -> str:
    """`name` as the file is to be called. Raises `Failure` 400 where no file of knowledge may be called so."""
    name = unicodedata.normalize("NFC", name)
    plain = name.isprintable() and not _FORBIDDEN & set(name) and name == name.strip() and not name.endswith(".")
    if not plain or not name or name.startswith((".", "~$")) or len(name.encode(errors="replace")) > _LONGEST:
        message = f"a file cannot be called {name[:60]!r}: give a plain name without folders"
        raise Failure(400, message, code="invalid_file_name", param="file")
    if os.path.splitext(name)[1].lower() not in suffixes:
        known = ", ".join(sorted(suffixes))
        raise Failure(400, f"{name} cannot be read; files may end in {known}", code="unsupported_file", param="file")
    return name


def upload_of(source: str) -> str:
    """The name of the uploaded file that is the document `source`; empty where it is no uploaded one."""
    folder, _, name = source.partition("/")
    plain = name.isprintable() and not _FORBIDDEN & set(name) and not name.startswith(".")
    return name if folder == FOLDER and name and plain else ""


def write_uploads(knowledge: Path, uploads: Sequence[Upload]) -> list[Path]:
    """Write all files, or none: each replaces one of the same name at once. Blocks. Raises `DiskError`."""
    drafts: list[tuple[Path, Path]] = []
    try:
        folder = _folder(knowledge)
        folder.mkdir(parents=True, exist_ok=True)
        for upload in uploads:
            path = folder / upload.name
            draft = folder / f".{secrets.token_hex(8)}.part"
            drafts.append((draft, path))
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(upload.content)
                file.flush()
                os.fsync(file.fileno())
        for draft, path in drafts:
            os.replace(draft, path)
    except OSError as error:
        for draft, _ in drafts:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise _unwritable(knowledge, error) from error
    return [path for _, path in drafts]


def remove_upload(knowledge: Path, name: str) -> bool:
    """Whether there was such an uploaded file. Blocks. Raises `DiskError`."""
    try:
        (_folder(knowledge) / name).unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unwritable(knowledge, error) from error
    return True


def _folder(knowledge: Path) -> Path:
    """The folder of uploads, which must not be a link to elsewhere."""
    folder = knowledge / FOLDER
    if not folder.resolve().is_relative_to(knowledge.resolve()):
        raise OSError(f"{FOLDER} is a link that leaves the knowledge folder")
    return folder


def _unwritable(knowledge: Path, error: OSError) -> DiskError:
    return DiskError(
        f"uploaded documents cannot be kept: {error.strerror or error}",
        where=str(knowledge / FOLDER),
        remedy="Make room on the disk, and let the user that runs Sartor write the folder.",
    )
