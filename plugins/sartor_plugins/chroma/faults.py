"""What SQLite, Chroma and the operating system say when something fails, put in Sartor's words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sartor.errors import BusyError, KnowledgeError, SartorError, StoreError

__all__ = ["translated"]

_FULL = ("is full", "no space left")
_BUSY = ("is locked", "is busy")
_DENIED = ("readonly", "unable to open", "permission denied", "not permitted")


@contextmanager
def translated(path: Path, bot: str) -> Iterator[None]:
    """Raise a `SartorError` for whatever the index of `bot` in the folder `path` raises within the block."""
    try:
        yield
    except SartorError:
        raise
    except (OSError, sqlite3.Error) as exc:
        raise _fault(exc, path, bot) from exc
    except Exception as exc:
        if type(exc).__module__.partition(".")[0] not in ("chromadb", "chromadb_rust_bindings"):
            raise
        raise _fault(exc, path, bot) from exc


def _fault(exc: Exception, path: Path, bot: str) -> SartorError:
    said = str(exc).lower()
    number = exc.errno if isinstance(exc, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or any(words in said for words in _FULL):
        return StoreError(
            f"There is no room left for the index of {bot}",
            where=str(path),
            remedy="Make room on the disk, then ingest again: what is stored already is kept.",
        )
    if any(words in said for words in _BUSY):
        return BusyError(
            f"The index of {bot} is in use",
            where=str(path),
            remedy="Stop the other process, such as a `sartor chat` or your own service.",
        )
    if isinstance(exc, OSError) or any(words in said for words in _DENIED):
        return KnowledgeError(
            f"The index of {bot} cannot be opened: {exc}",
            where=str(path),
            remedy="Check the folder's owner and permissions.",
        )
    return KnowledgeError(
        f"The index of {bot} cannot be used: {exc}",
        where=str(path),
        remedy=f"Remove this folder, which holds nothing else, and make it anew: sartor ingest --rebuild {bot}",
    )
