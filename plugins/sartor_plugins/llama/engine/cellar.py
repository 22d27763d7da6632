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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
_HELD = 1.0
"""Seconds for which what was read, and is not taken, may stand in the way of what another one waits for."""
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


@dataclass(slots=True, eq=False)
class _Ahead:
    """What is read before it is taken."""

    jar: Jar
    key: AESGCM
    done: threading.Event = field(default_factory=threading.Event)
    data: Saved | None = None
    dropped: bool = False
    """Whether it is not wanted any more."""
    in_the_way: float = 0.0
    """When (`time.monotonic`) it was read, and something else would have been; 0: not yet."""

    def is_left(self) -> bool:
        """Whether nobody seems to take it, though something else is waited for."""
        if not self.done.is_set():
            return False
        self.in_the_way = self.in_the_way or time.monotonic()
        return time.monotonic() - self.in_the_way > _HELD


class Cellar:
    """A folder of this process alone inside `folder`. To be used by one thread; others write, remove and read."""

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
        self._ahead: _Ahead | None = None
        self._wanted: queue.SimpleQueue[_Ahead | None] = queue.SimpleQueue()
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
        self._reader = threading.Thread(target=self._read_ahead, name="llama-cellar-reader", daemon=True)
        self._reader.start()

    @property
    def busy(self) -> bool:
        """Whether something waits for the disk, or the disk has failed lately."""
        return bool(self._pending) or time.monotonic() - self._failed_at < _PAUSE

    def takes(self, several: Iterable[tuple[str, int]]) -> bool:
        """Whether it would take all of these now, each so many bytes of a tenant: the disk may be too slow, or full."""
        if time.monotonic() - self._failed_at < _PAUSE:
            return False
        with self._lock:
            pending = dict(self._pending)
        for tenant, size in several:
            own, all_ = pending.get(tenant, 0), sum(pending.values())
            if all_ and (all_ + size > _MOST_PENDING or (own and own + size > _MOST_PENDING // 4)):
                return False
            pending[tenant] = own + size
        return True

    def put(self, tenant: str, data: Saved) -> Jar | None:
        """Store `data`; None where it `takes` none."""
        if not self.takes([(tenant, len(data))]):
            return None
        with self._lock:
            self._pending[tenant] = self._pending.get(tenant, 0) + len(data)
        if tenant not in self._keys:
            self._keys[tenant] = AESGCM(AESGCM.generate_key(256))
        number = next(self._numbers)
        jar = Jar(number, tenant, len(data), self._folder / f"{number}{_SUFFIX}", data)
        self._orders.put(jar)
        return jar

    def fetch(self, jar: Jar) -> bool:
        """Whether `take` need not wait for the disk. If it must, `jar` is read meanwhile, one at a time."""
        if jar.data is not None or jar.gone:
            return True
        ahead = self._ahead
        if ahead is not None and ahead.jar is jar:
            return ahead.done.is_set()
        if ahead is None or ahead.is_left():
            self._ahead = _Ahead(jar, self._keys[jar.tenant])
            self._wanted.put(self._ahead)
        return False

    def rest(self) -> None:
        """Nobody waits for what is read: it need not be held."""
        if self._ahead is not None:
            self._ahead.dropped = True
            self._ahead = None

    def take(self, jar: Jar) -> Saved | None:
        """What was stored; None where it cannot be had any more."""
        if (data := jar.data) is not None or jar.gone:
            return data
        if self._ahead is not None and self._ahead.jar is jar:
            ahead, self._ahead = self._ahead, None
            ahead.done.wait()
            return ahead.data
        return self._read(jar, self._keys[jar.tenant])

    def drop(self, jar: Jar) -> None:
        """Nobody wants it any more: it is removed soon."""
        jar.gone, jar.data = True, None
        if self._ahead is not None and self._ahead.jar is jar:
            self.rest()
        self._orders.put(jar)

    def forget(self, tenant: str) -> None:
        """Forget the key of `tenant`: nobody can read what there was. It must have been dropped."""
        self._keys.pop(tenant, None)

    def close(self) -> None:
        """Remove everything."""
        self._closing = True
        self._keys.clear()
        self.rest()
        self._wanted.put(None)
        self._orders.put(None)
        self._writer.join(_PATIENCE)
        self._reader.join(_PATIENCE)
        self._alive.release()
        _remove_all(self._folder)

    # The reader's thread

    def _read_ahead(self) -> None:
        while (ahead := self._wanted.get()) is not None:
            ahead.data = self._read(ahead.jar, ahead.key, ahead)
            ahead.done.set()
            del ahead  # nothing is held while the thread waits for the next

    def _read(self, jar: Jar, key: AESGCM, ahead: _Ahead | None = None) -> Saved | None:
        """What lies in the file of `jar`; None where that is lost, or given up meanwhile."""
        try:
            read = np.empty(jar.size, np.uint8)
            with jar.path.open("rb", buffering=0) as file:
                for nonce, start, end in _pieces(jar):
                    if jar.gone or self._closing or (ahead is not None and ahead.dropped):
                        return None
                    piece = key.decrypt(nonce, file.read(end - start + _TAG), None)
                    read[start:end] = np.frombuffer(piece, np.uint8)
        except (OSError, InvalidTag, ValueError, MemoryError) as error:
            if not jar.gone:
                why = error or type(error).__name__
                log.warning("what was kept of a prompt is lost, and will be computed: %s", why)
            return None
        return read

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
                if left := self._pending.get(jar.tenant, 0) - jar.size:
                    self._pending[jar.tenant] = left
                else:
                    self._pending.pop(jar.tenant, None)
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
