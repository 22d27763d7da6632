"""Tries a template in a process of its own; `sartor_plugins.llama.tryout` starts it."""

from __future__ import annotations

import json
import sys

from .budget import TemplateRefused
from .sandbox import Sandbox

__all__ = ["main"]


def _limit() -> None:
    """Keep this process small and short, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 10)):
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):  # macOS has no RLIMIT_AS
            continue


def main() -> None:
    """Reads a template and conversations from standard input; writes ``{"refused": why or null}``.

    That a template raises something on a conversation is its good right: only what was refused is told.
    """
    _limit()
    told = json.load(sys.stdin)
    sandbox = Sandbox(lambda value, indent: json.dumps(value, indent=indent, default=str))
    refused: str | None = None
    try:
        template = sandbox.read(told["source"])
        for values in told["conversations"]:
            try:
                sandbox.render(template, values)
            except TemplateRefused:
                raise
            except Exception:
                continue
    except TemplateRefused as error:
        refused = str(error)
    except MemoryError:
        refused = "it takes too much memory"
    json.dump({"refused": refused}, sys.stdout)
