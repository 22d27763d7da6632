"""The process of an isolated plugin as the project's process starts and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import IO

from sartor.errors import RunError

__all__ = ["Process"]

_CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from sartor.isolation.child import main; main()"
_PASSED = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
_SECONDS = 2.0
_PIECE = 1 << 16


@lru_cache(maxsize=1)
def _starter(owner: int) -> ThreadPoolExecutor:
    """The one thread that starts processes: they die with the thread that started them, so it is one that stays."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"sartor-starter-{owner}")


class Process:
    """A child with a socket, an empty folder, and next to nothing of this process's environment."""

    channel: socket.socket
    printed: IO[bytes]
    """What it prints."""

    def __init__(self, paths: Iterable[str], environment: Iterable[str]) -> None:
        """`paths` are where it finds modules, `environment` are variables that it is given.

        Raises `RunError` where no process can be started."""
        if os.name != "posix":
            raise RunError("isolated plugins need Linux or macOS", remedy="Run the project there, or in a container.")
        program = os.fsdecode(get_executable() or sys.executable)
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="sartor-plugin-"))
            self.channel, theirs = socket.socketpair()
            with theirs:
                command = [program, "-I", "-B", "-X", "utf8", "-c", _CODE, json.dumps([*paths])]
                command += [str(os.getpid()), str(theirs.fileno())]
                start = _starter(os.getpid()).submit(self._start, command, theirs.fileno(), environment)
                self._process = start.result()
        except OSError as error:
            raise RunError(f"no process can be started: {program}: {error.strerror or error}") from error
        assert self._process.stdout is not None
        self.printed = self._process.stdout
        self.channel.setblocking(False)
        os.set_blocking(self.printed.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def gone(self) -> tuple[str, bytes]:
        """Wait a little for its end, or kill it, and give everything back; how it ended, in words, and what it still
        printed."""
        try:
            code = self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        last = b""
        with contextlib.suppress(BlockingIOError):
            last = os.read(self.printed.fileno(), _PIECE)
        self.channel.close()
        self.printed.close()
        with contextlib.suppress(OSError, RecursionError):
            shutil.rmtree(self.folder, ignore_errors=True)
        if code >= 0:
            return f"ended with code {code}", last
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}", last
        return f"was ended by signal {-code}", last

    def _start(self, command: list[str], channel: int, environment: Iterable[str]) -> subprocess.Popen[bytes]:
        names = {*_PASSED, *environment}
        passed = {name: value for name, value in os.environ.items() if name in names}
        own = {"HOME": str(self.folder), "TMPDIR": str(self.folder), "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**own, "OPENBLAS_NUM_THREADS": "1", **passed},
            cwd=self.folder,
            pass_fds=(channel,),
            start_new_session=True,
        )
