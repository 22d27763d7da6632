"""What ordinary memory has no room for either: on a disk, encrypted with keys that only this process has.

What a model keeps of a conversation tells what was said in it. So each tenant has a random key of its own, which is
never written. To forget a tenant is to forget its key and to remove its files; what a process leaves behind that was
killed can be read by nobody, and the next one that uses the folder removes it.

AES-256-GCM (NIST SP 800-38D) in pieces, each with its number in the nonce: none can be changed, moved or left out.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from filelock import FileLock, Timeout
from sartor.errors import ModelError

from sartor_plugins.llama.engine.saved import Saved

__all__ = ["Cellar", "Jar"]

_PIECE = 1 << 20
"""Bytes that are encrypted at a time: the interpreter waits for less than a millisecond."""
_TAG = 16
"""Bytes by which a piece grows."""
_MOST_PENDING = 256 << 20
"""Bytes that may wait for the disk; further ones are given up."""
_PATIENCE = 30.0
"""Seconds to wait for another process that looks after the folder."""
_MINE = "process-"
_SUFFIX = ".kv"

log = logging.getLogger("sartor.llama")


@dataclass(slots=True, eq=False)
class Jar:
    """Something in the cellar."""

    tenant: str
    size: int
    """Bytes, not encrypted."""
    path: Path
    nonce: bytes
    data: Saved | None
    """The thing itself, until it is written."""
    gone: bool = False
    """Whether nobody wants it any more, or it could not be written."""


class Cellar:
    """A folder of this process alone inside `folder`. To be used by one thread; another one writes."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit`: bytes. Raises `ModelError` when the folder cannot be used."""
        self.limit = limit
        self._keys: dict[str, AESGCM] = {}
        self._numbers = itertools.count()
        self._orders: queue.SimpleQueue[Jar | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock", timeout=_PATIENCE):
                _clean(folder)
                self._folder = Path(tempfile.mkdtemp(prefix=_MINE, dir=folder))
                self._alive = FileLock(self._folder / "lock", timeout=0, thread_local=False)
                self._alive.acquire()
        except (OSError, Timeout) as error:
            raise ModelError(
                f"the folder for what is kept of prompts cannot be used: {error}",
                where=str(folder),
                remedy="Set `spill_folder` of the model to a folder that can be written, or `spill_disk` to 0.",
            ) from error
        self._writer = threading.Thread(target=self._write_all, name="llama-cellar", daemon=True)
        self._writer.start()

    def put(self, tenant: str, data: Saved) -> Jar | None:
        """Store `data`; None where the disk is too slow to take any more now."""
        with self._lock:
            if self._pending and self._pending + len(data) > _MOST_PENDING:
                return None
            self._pending += len(data)
        if tenant not in self._keys:
            self._keys[tenant] = AESGCM(AESGCM.generate_key(256))
        path = self._folder / f"{next(self._numbers)}{_SUFFIX}"
        jar = Jar(tenant, len(data), path, os.urandom(8), data)
        self._orders.put(jar)
        return jar

    def take(self, jar: Jar) -> Saved | None:
        """What was stored; None where it cannot be had any more."""
        if (data := jar.data) is not None or jar.gone:
            return data
        key, read = self._keys[jar.tenant], np.empty(jar.size, np.uint8)
        try:
            with jar.path.open("rb", buffering=0) as file:
                for nonce, start, end in _pieces(jar):
                    piece = key.decrypt(nonce, file.read(end - start + _TAG), None)
                    read[start:end] = np.frombuffer(piece, np.uint8)
        except (OSError, InvalidTag, ValueError) as error:
            log.warning("what was kept of a prompt is lost, and will be computed: %s", error or type(error).__name__)
            return None
        return read

    def drop(self, jar: Jar) -> None:
        """Remove it."""
        jar.gone, jar.data = True, None
        _remove(jar.path)

    def forget(self, tenant: str) -> None:
        """Nothing of `tenant` is left, and its key is forgotten; what there was must have been dropped."""
        self._keys.pop(tenant, None)

    def close(self) -> None:
        """Remove everything."""
        self._keys.clear()
        self._orders.put(None)
        self._writer.join()
        self._alive.release()
        _remove_all(self._folder)

    # The writer's thread

    def _write_all(self) -> None:
        while (jar := self._orders.get()) is not None:
            if (data := jar.data) is not None and (key := self._keys.get(jar.tenant)) is not None:
                try:
                    _write(jar, data, key)
                except OSError as error:
                    log.warning("what is kept of prompts cannot be written to %s: %s", self._folder, error)
                    jar.gone = True
            with self._lock:
                self._pending -= jar.size
            jar.data = None
            if jar.gone:
                _remove(jar.path)


def _write(jar: Jar, data: Saved, key: AESGCM) -> None:
    with os.fdopen(os.open(jar.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0) as file:
        for nonce, start, end in _pieces(jar):
            if jar.gone:
                return
            encrypted = memoryview(key.encrypt(nonce, data[start:end].data, None))
            while encrypted:
                encrypted = encrypted[file.write(encrypted) :]


def _pieces(jar: Jar) -> Iterator[tuple[bytes, int, int]]:
    """The nonce of each piece, and which bytes it has."""
    for number, start in enumerate(range(0, jar.size, _PIECE)):
        yield jar.nonce + number.to_bytes(4, "big"), start, min(start + _PIECE, jar.size)


def _clean(folder: Path) -> None:
    """Remove what processes left behind that are no more."""
    for left in folder.glob(f"{_MINE}*"):
        lock = FileLock(left / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        lock.release()
        _remove_all(left)


def _remove_all(folder: Path) -> None:
    """Remove a folder of ours, and nothing of others that may lie in it."""
    for path in (*folder.glob(f"*{_SUFFIX}"), folder / "lock"):
        _remove(path)
    try:
        folder.rmdir()
    except OSError as error:
        log.warning("cannot be removed: %s: %s", folder, error)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot be removed: %s: %s", path, error)
