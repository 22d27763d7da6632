"""Tries a model file in a child process before llama.cpp opens it in this one, which a malformed file could end.

A file with a pinned hash needs no trial: `sartor model pin` and `pull` made one before. A file that has passed is not
tried again until it, or llama-cpp-python, is another: that is remembered beside the file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from multiprocessing.spawn import get_executable
from pathlib import Path

from sartor.errors import ModelError
from sartor.modelfile import Notes, size_of

from sartor_plugins.builtin import MODEL
from sartor_plugins.llama import trial
from sartor_plugins.llama.crash import causes, signal_name
from sartor_plugins.llama.settings import AdapterSettings, FileSettings

__all__ = ["ensure_loads", "needs_probe", "probe", "probe_adapter", "try_out"]

_LIBRARY = "llama-cpp-python"
_WHOLE = 2 << 30
"""Up to this size, a token is computed, which uses all weights; larger files are only loaded."""
_MEMORY = 2 << 30
_SECONDS = 60.0
_RATE = 50e6
"""Bytes a second that a slow disk reads: the time that a file is given grows with its size."""


def needs_probe(path: Path, settings: FileSettings) -> bool:
    """Whether a trial would tell anything new about a file that `sartor_plugins.llama.gguf.check` has passed.

    A file with a pinned hash was tried when it was pinned, and the built-in model is a part of this package.
    """
    return settings.probe and settings.sha256 is None and path.resolve() != MODEL.resolve()


def probe(path: Path, settings: FileSettings) -> None:
    """Make sure that llama.cpp can load `path` without ending the process. Raises `ModelError` when it cannot."""
    if needs_probe(path, settings):
        ensure_loads(path)


def probe_adapter(path: Path, adapter: AdapterSettings, model: Path, settings: FileSettings) -> None:
    """Like `probe` for a LoRA adapter at `path`, made for the model at `model` with its `settings`."""
    if settings.probe and adapter.sha256 is None:
        ensure_loads(path, model)


def ensure_loads(path: Path, model: Path | None = None) -> None:
    """Try the file out, unless it has passed already; an adapter with its `model`. Raises `ModelError`."""
    notes = Notes(path)
    passed = version(_LIBRARY)
    if model is not None:
        status = model.stat()
        passed = f"{passed} with {model} of {status.st_size} bytes, {status.st_mtime_ns}"
    if notes.read().get("loads") == passed:
        return
    try_out(path, model)
    notes.add(loads=passed)


def try_out(path: Path, model: Path | None = None, *, seconds: float | None = None, memory: int = _MEMORY) -> None:
    """Load the file in a child process, whatever is known of it; an adapter with its `model`. Raises `ModelError`.

    `seconds` is the time that the child is given, `memory` the bytes that it may take beside the files themselves.
    """
    size = size_of(path) + (size_of(model) if model is not None else 0)
    seconds = seconds or _SECONDS + size / _RATE
    program = os.fsdecode(get_executable() or sys.executable)
    files = [str(path), "whole" if size <= _WHOLE else "load"] if model is None else [str(model), "load", str(path)]
    command = [program, "-P", trial.__file__, str(memory + size), *files]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(
            path,
            f"llama.cpp did not come to an end with it within {seconds:.0f} seconds, in a trial",
            "Download it again; if the disk is just slow, set `probe: false`.",
        ) from error
    except OSError as error:
        raise _refused(
            path,
            f"it cannot be tried out: {program} does not start: {error.strerror}",
            "Call multiprocessing.set_executable with the path of Python, or set `probe: false`.",
        ) from error
    if done.returncode != 0:
        raise _failure(path, done.returncode, done.stderr.decode("utf-8", "replace"))


def _environment() -> dict[str, str]:
    """This process's environment, but without a GPU to take memory of, and without a debugger after a crash."""
    hidden = {name: "" for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")}
    return {**os.environ, **hidden, "GGML_NO_BACKTRACE": "1", "PYTHONFAULTHANDLER": ""}


def _failure(path: Path, code: int, log: str) -> ModelError:
    told = causes(log) or "it does not say why"
    again = "Download or convert it again."
    if re.search(r"bad_alloc|std::length_error|MemoryError|failed to allocate|cannot allocate", log, re.IGNORECASE):
        return _refused(path, f"the file asks for more memory than a model of its size needs: {told}", again)
    if code == trial.REFUSED:
        newer = "Download or convert it again; a newer llama-cpp-python knows more kinds of models."
        return _refused(path, f"llama.cpp cannot load the model: {told}", newer)
    if code == trial.MISSING:
        return _refused(path, f"llama.cpp cannot be loaded: {told}", "pip install --force-reinstall 'sartor[local]'")
    if code < 0:
        name = signal_name(code)
        killed = " (was the memory full?)" if -code == getattr(signal, "SIGKILL", 9) else ""
        what = f"llama.cpp crashed on the file in a trial, by signal {name}{killed}: {told}"
        return _refused(path, what, f"{again} It would have ended this process.")
    return _refused(path, f"the trial ended with code {code}: {told}", again)


def _refused(path: Path, what: str, remedy: str) -> ModelError:
    return ModelError(what, where=str(path), remedy=remedy)
