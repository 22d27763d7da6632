"""What a process that ended in native code tells of it."""

from __future__ import annotations

import re
import signal

__all__ = ["causes", "signal_name"]

_LOADER = "llama_model_load_from_file_impl"


def signal_name(code: int) -> str:
    """The name of the signal that ended a process whose return code is `code`, less than 0."""
    names = {item.value: item.name for item in signal.Signals}
    return names.get(-code, str(-code))


def causes(log: str) -> str:
    """The lines of a log that say why, without the names of functions and folders; empty where none does."""
    lines = [line.strip(" .") for line in log.splitlines() if line.strip(" .") and _LOADER not in line]
    found = [line for line in lines if re.search(r"error|fail|assert|invalid|terminate|what\(\)|abort", line, re.I)]
    shown = "; ".join(dict.fromkeys((found or lines[-1:])[:2]))
    shown = re.sub(r"\S*/([\w.-]+:\d+:)", r"\1", shown.replace("llama_model_load: error loading model: ", ""))
    return shown if len(shown) <= 300 else f"{shown[:299]}…"
