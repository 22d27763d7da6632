"""llama.cpp's library: loaded once, quiet, its errors kept for our own.

Everything of `llama_cpp` goes through `lib`, the ctypes binding. The high-level `Llama` class is not used.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import deque
from typing import Any

import llama_cpp.llama_cpp as _binding
import numpy as np
import numpy.typing as npt

__all__ = ["AbortFlag", "Row", "floats", "heard", "lib", "listen"]

lib: Any = _binding  # ctypes signatures: nothing that a type checker could use

Row = npt.NDArray[np.float32]
"""Numbers of the library, such as the logits of one place: one for each token of the vocabulary."""

_ERROR = 3
_CONTINUED = 5
_heard: deque[str] = deque(maxlen=20)
_ready = threading.Lock()
_state = {"ready": False, "level": 0}


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes | None, _data: object) -> None:
    if level != _CONTINUED:
        _state["level"] = level
    if _state["level"] == _ERROR and text:
        _heard.append(text.decode("utf-8", "replace").strip())


def listen() -> None:
    """Initialise the library, once for the process, and take its log away from stderr."""
    with _ready:
        if not _state["ready"]:
            lib.llama_log_set(_log, ctypes.c_void_p(0))
            lib.llama_backend_init()
            _state["ready"] = True
    _heard.clear()


def heard() -> str:
    """The error lines that the library has logged since `listen`, joined; empty where there are none."""
    return "; ".join(line for line in _heard if line)


def floats(pointer: object, count: int) -> Row:
    """The library's own memory as an array, without a copy: valid until the library's next computation."""
    array: Any = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * count)).contents  # type: ignore[arg-type]
    return np.frombuffer(array, dtype=np.float32)


class AbortFlag:
    """A flag that stops a running `llama_decode`, read by the library without entering Python.

    The library asks a C callback before each operation. A callback in Python would wait for the interpreter
    lock hundreds of times in a decode, so it is C's own `atoi`, applied to a buffer that holds "0" or "1".
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(b"0", 2)
        library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        self.callback = ctypes.cast(library.atoi, lib.ggml_abort_callback)
        self.data = ctypes.cast(self._buffer, ctypes.c_void_p)

    def raise_(self) -> None:
        """Stop the decode that runs, and any later one until `lower`."""
        self._buffer[0] = b"1"

    def lower(self) -> None:
        """Let decodes run again."""
        self._buffer[0] = b"0"
