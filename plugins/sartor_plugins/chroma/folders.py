"""Which tenants' folders are open: each by one process at a time, and never more than a given number."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.errors import BusyError, PluginError

from sartor_plugins.chroma.exact import Held
from sartor_plugins.chroma.keywords import Keywords
from sartor_plugins.chroma.vectors import Opened, scrub

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from filelock import BaseFileLock

__all__ = ["TenantFolder", "TenantFolders"]


class TenantFolder:
    """The open folder of one tenant: a lock file, a Chroma database, and a keyword file for each bot.

    Its methods block. `TenantFolders.use` sees to it that one thread uses it at a time.
    """

    def __init__(self, path: Path, held: Held) -> None:
        """Make the folder if need be, readable by its owner only, and lock it. Raises `BusyError`."""
        self.path = path
        self.held = held
        self.users = 0
        self.turn = threading.Lock()
        self._keywords: dict[tuple[str, str], Keywords] = {}
        self._client: ClientAPI | None = None
        self.collections: dict[str, Opened] = {}
        """Those that were looked up, by name."""
        self._lock = _locked(path)

    def keywords(self, bot: str, language: str) -> Keywords:
        """The keyword file of a bot."""
        key = (bot, language)
        if key not in self._keywords:
            self._keywords[key] = Keywords(self.path / f"{bot}.words.sqlite3", language)
        return self._keywords[key]

    @property
    def has_vectors(self) -> bool:
        """Whether a Chroma database was ever made here."""
        return bool(self.collections) or (self.path / "vectors").exists()

    @property
    def client(self) -> ClientAPI:
        """The tenant's Chroma database, opened when it is first asked for."""
        if self._client is None:
            scrub(self.path / "vectors")  # after a crash
            self._client = _client(self.path / "vectors")
        return self._client

    def close(self) -> None:
        """Give back every file and the lock."""
        self.held.forget(self.path)
        try:
            for keywords in self._keywords.values():
                keywords.close()
            self._keywords.clear()
            if self._client is not None:
                self.collections.clear()
                self._client.close()  # type: ignore[attr-defined]
                self._client = None
                scrub(self.path / "vectors")
        finally:
            self._lock.release()


class TenantFolders:
    """The open folders of a process. Safe to use from several threads."""

    def __init__(self, limit: int, memory: int) -> None:
        """At most `limit` folders are open, and `memory` bytes of vectors in them are held."""
        self._limit = limit
        self._held = Held(memory)
        self._changed = threading.Condition()
        self._open: OrderedDict[Path, TenantFolder] = OrderedDict()

    @contextmanager
    def use(self, path: Path) -> Iterator[TenantFolder]:
        """The folder at `path`, for this thread alone while the block lasts. Raises `BusyError`."""
        with self._changed:
            folder = self._open.get(path)
            if folder is None:
                self._close_idle(keep=self._limit - 1)
                folder = self._open[path] = TenantFolder(path, self._held)
            self._open.move_to_end(path)
            folder.users += 1
        try:
            with folder.turn:
                yield folder
        finally:
            with self._changed:
                folder.users -= 1
                self._changed.notify_all()

    @contextmanager
    def use_if_free(self, path: Path) -> Iterator[TenantFolder | None]:
        """The folder at `path` for this thread alone, if it is open and nobody uses it. Never waits."""
        folder = None
        if self._changed.acquire(blocking=False):
            try:
                found = self._open.get(path)
                if found is not None and not found.users and found.turn.acquire(blocking=False):
                    self._open.move_to_end(path)
                    folder = found
            finally:
                self._changed.release()
        try:
            yield folder
        finally:
            if folder is not None:
                folder.turn.release()

    def close(self, path: Path) -> None:
        """Close the folder at `path` once nobody uses it; nothing if it is not open."""
        with self._changed:
            self._changed.wait_for(lambda: path not in self._open or not self._open[path].users)
            folder = self._open.pop(path, None)
            if folder is not None:
                with folder.turn:
                    folder.close()

    def _close_idle(self, keep: int) -> None:
        """Close the folders that were used least recently, until `keep` are left or the rest are in use."""
        for path in list(self._open):
            if len(self._open) <= keep:
                return
            folder = self._open[path]
            if not folder.users and folder.turn.acquire(blocking=False):
                try:
                    self._open.pop(path).close()
                finally:
                    folder.turn.release()


def _locked(path: Path) -> BaseFileLock:
    try:
        from filelock import FileLock, Timeout
    except ImportError as exc:
        raise _missing("filelock") from exc

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.mkdir(exist_ok=True, mode=0o700)
    os.chmod(path, 0o700)
    lock = FileLock(path / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise BusyError(
            "Another process has this tenant's index open",
            where=str(path),
            remedy="Stop that process, such as a `sartor chat`, your own service, or a second worker of it.",
        ) from exc
    return lock


def _client(path: Path) -> ClientAPI:
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as exc:
        raise _missing("chromadb") from exc
    return chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))


def _missing(package: str) -> PluginError:
    return PluginError(f"The plugin chroma needs the package {package}", remedy="pip install 'sartor[knowledge]'")
