"""The worker as the process sees it that started it: a child with two pipes."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from multiprocessing.spawn import get_executable
from typing import IO

from sartor.errors import ModelError

from sartor_plugins.llama import wire
from sartor_plugins.llama.wire import Frame

__all__ = ["Child"]

_MODULE = "sartor_plugins.llama.worker"
_SECONDS = 5.0
_TAIL = 8_000

_PASSED = {
    *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "WINDIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LLAMA_CPP_LIB", "LLAMA_CPP_LIB_PATH"),
    *("PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
}
_PASSED_FAMILIES = ("LC_", "GGML_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "VK_", "OMP_", "GOMP_", "KMP_", "MKL_")
"""What the library and the interpreter look at. Keys and passwords in other variables are not the worker's business."""


class Child:
    """A process that runs `sartor_plugins.llama.worker`. `send` and `kill` may be called from any thread."""

    def __init__(self, name: str) -> None:
        """`name` is for the thread that writes. Raises `ModelError` where no process can be started."""
        program = os.fsdecode(get_executable() or sys.executable)
        self._log = _scratch()
        try:
            self._process = subprocess.Popen(
                [program, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env=_environment(),
            )
        except OSError as error:
            if self._log is not None:
                self._log.close()
            raise ModelError(
                f"no process can be started for the model: {program}: {error.strerror}",
                remedy="Call multiprocessing.set_executable with the path of Python, or set `isolation: thread`.",
            ) from error
        self.pid = self._process.pid
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"{name}:pipe", daemon=True)
        self._writer.start()

    def send(self, data: bytes) -> None:
        """Write `data` to the child, soon: a child that does not read keeps nobody waiting."""
        self._out.put(data)

    def read(self) -> Frame | None:
        """Wait for the next frame; None when the child has ended. Raises `Garbled`."""
        assert self._process.stdout is not None
        return wire.read(self._process.stdout)

    def kill(self) -> None:
        """End the child, whatever it does."""
        self._process.kill()

    def gone(self) -> tuple[int, str]:
        """Wait for its end, after `read` gave None or `kill`, and free everything; its return code and last words."""
        assert self._process.stdout is not None
        try:
            code = self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._out.put(None)
        self._writer.join()
        self._process.stdout.close()
        return code, self._last_words()

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        with contextlib.suppress(OSError), self._log as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            return log.read().decode("utf-8", "replace")
        return ""

    def _write(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        with contextlib.suppress(OSError):  # it has ended: whoever reads learns of it
            while (data := self._out.get()) is not None:
                stream.write(data)
                if self._out.empty():
                    stream.flush()
        with contextlib.suppress(OSError):
            stream.close()


def _scratch() -> IO[bytes] | None:
    """A file without a name for what the library prints when it crashes; None where no disk takes it."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None


def _environment() -> dict[str, str]:
    """What the child must know of this process's environment; modules are found where they are found here."""
    passed = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path if isinstance(path, str))
    return {**passed, "PYTHONPATH": paths, "PYTHONUTF8": "1", "GGML_NO_BACKTRACE": "1"}
