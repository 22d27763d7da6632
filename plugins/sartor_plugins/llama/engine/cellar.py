"""What ordinary memory has no room for either: on a disk, encrypted with keys that only this process has.

What a model keeps of a conversation tells what was said in it. So each tenant has a random key of its own, which is
never written. To forget a tenant is to forget its key and to remove its files; what a process leaves behind that was
killed can be read by nobody, and the next one that uses the folder removes it.

AES-256-GCM (NIST SP 800-38D) in pieces, each with its number in the nonce: none can be changed, moved or left out.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import tempfile
import threading
import time
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
_MOST_PENDING = 512 << 20
"""Bytes that may wait for the disk, in ordinary memory; of one tenant, a quarter of them, or one sequence."""
_PAUSE = 60.0
"""Seconds in which nothing is taken, after the disk has failed."""
_PATIENCE = 30.0
"""Seconds to wait for another process that looks after the folder, or for the disk at the end."""
_MINE = "process-"
_SUFFIX = ".kv"

log = logging.getLogger("sartor.llama")


@dataclass(slots=True, eq=False)
class Jar:
    """Something in the cellar."""

    number: int
    tenant: str
    size: int
    """Bytes, not encrypted."""
    path: Path
    data: Saved | None
    """The thing itself, until it is written."""
    gone: bool = False
    """Whether nobody wants it any more, or it could not be written."""
    waits: bool = True
    """Whether it counts among what waits for the disk."""


class Cellar:
    """A folder of this process alone inside `folder`. To be used by one thread; another one writes and removes."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit`: bytes. Raises `ModelError` when the folder cannot be used."""
        self.limit = limit
        self.failures = 0
        """How many were lost since they could not be written."""
        self._keys: dict[str, AESGCM] = {}
        self._numbers = itertools.count()
        self._orders: queue.SimpleQueue[Jar | None] = queue.SimpleQueue()
        self._pending: dict[str, int] = {}
        self._lock = threading.Lock()
        self._failed_at = -_PAUSE
        self._closing = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock", timeout=_PATIENCE):
                _clean(folder)
                self._folder = Path(tempfile.mkdtemp(prefix=_MINE, dir=folder))
                self._alive = FileLock(self._folder / "lock", timeout=0, thread_local=False)
                self._alive.acquire()
        except (OSError, Timeout, NotImplementedError) as error:
            raise ModelError(
                f"the folder for what is kept of prompts cannot be used: {error}",
                where=str(folder),
                remedy="Set `spill_folder` of the model to a folder that can be written, or `spill_disk` to 0.",
            ) from error
        self._writer = threading.Thread(target=self._work, name="llama-cellar", daemon=True)
        self._writer.start()

    def takes(self, tenant: str, size: int) -> bool:
        """Whether it would take `size` bytes of `tenant` now: the disk may be too slow, or full."""
        if time.monotonic() - self._failed_at < _PAUSE:
            return False
        with self._lock:
            own, all_ = self._pending.get(tenant, 0), sum(self._pending.values())
        return not all_ or (all_ + size <= _MOST_PENDING and (not own or own + size <= _MOST_PENDING // 4))

    def put(self, tenant: str, data: Saved) -> Jar | None:
        """Store `data`; None where it `takes` none."""
        if not self.takes(tenant, len(data)):
            return None
        with self._lock:
            self._pending[tenant] = self._pending.get(tenant, 0) + len(data)
        if tenant not in self._keys:
            self._keys[tenant] = AESGCM(AESGCM.generate_key(256))
        number = next(self._numbers)
        jar = Jar(number, tenant, len(data), self._folder / f"{number}{_SUFFIX}", data)
        self._orders.put(jar)
        return jar

    def take(self, jar: Jar) -> Saved | None:
        """What was stored; None where it cannot be had any more."""
        if (data := jar.data) is not None or jar.gone:
            return data
        try:
            key, read = self._keys[jar.tenant], np.empty(jar.size, np.uint8)
            with jar.path.open("rb", buffering=0) as file:
                for nonce, start, end in _pieces(jar):
                    piece = key.decrypt(nonce, file.read(end - start + _TAG), None)
                    read[start:end] = np.frombuffer(piece, np.uint8)
        except (OSError, InvalidTag, ValueError, MemoryError) as error:
            log.warning("what was kept of a prompt is lost, and will be computed: %s", error or type(error).__name__)
            return None
        return read

    def drop(self, jar: Jar) -> None:
        """Nobody wants it any more: it is removed soon."""
        jar.gone, jar.data = True, None
        self._orders.put(jar)

    def forget(self, tenant: str) -> None:
        """Forget the key of `tenant`: nobody can read what there was. It must have been dropped."""
        self._keys.pop(tenant, None)

    def close(self) -> None:
        """Remove everything."""
        self._closing = True
        self._keys.clear()
        self._orders.put(None)
        self._writer.join(_PATIENCE)
        self._alive.release()
        _remove_all(self._folder)

    # The writer's thread

    def _work(self) -> None:
        while self._one():
            pass

    def _one(self) -> bool:
        """One order; false after the last one. Nothing of it is held any longer while the thread waits for the next."""
        jar = self._orders.get()
        if jar is None:
            return False
        data, key = jar.data, self._keys.get(jar.tenant)
        if data is not None and key is not None:
            try:
                self._write(jar, data, key)
            except Exception as error:
                log.warning("what is kept of prompts cannot be written to %s: %s", self._folder, error)
                self._failed_at, jar.gone = time.monotonic(), True
                self.failures += 1
        jar.data = None
        if jar.gone:
            _remove(jar.path)
        if jar.waits:
            jar.waits = False
            with self._lock:
                self._pending[jar.tenant] -= jar.size
                if not self._pending[jar.tenant]:
                    del self._pending[jar.tenant]
        return True

    def _write(self, jar: Jar, data: Saved, key: AESGCM) -> None:
        with os.fdopen(os.open(jar.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0) as file:
            for nonce, start, end in _pieces(jar):
                if jar.gone or self._closing:
                    return
                encrypted = memoryview(key.encrypt(nonce, data[start:end].data, None))
                while encrypted:
                    encrypted = encrypted[file.write(encrypted) :]


def _pieces(jar: Jar) -> Iterator[tuple[bytes, int, int]]:
    """The nonce of each piece, and which bytes it has. No key sees a nonce twice: numbers of jars are never used
    again."""
    for number, start in enumerate(range(0, jar.size, _PIECE)):
        yield jar.number.to_bytes(8, "big") + number.to_bytes(4, "big"), start, min(start + _PIECE, jar.size)


def _clean(folder: Path) -> None:
    """Remove what processes left behind that are no more."""
    for left in folder.glob(f"{_MINE}*"):
        lock = FileLock(left / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        except OSError as error:
            log.warning("cannot be removed: %s: %s", left, error)
            continue
        lock.release()
        _remove_all(left)


def _remove_all(folder: Path) -> None:
    """Remove a folder of ours, and nothing of others that may lie in it."""
    for path in (*folder.glob(f"*{_SUFFIX}"), folder / "lock"):
        _remove(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
    except OSError as error:
        log.warning("cannot be removed: %s: %s", folder, error)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot be removed: %s: %s", path, error)
