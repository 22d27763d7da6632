"""What `sartor.yaml` says of plugins whose code is not trusted."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sartor.specbase import Spec

__all__ = ["IsolationSpec"]


def _is_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is no name of an environment variable")
    return name


class IsolationSpec(Spec):
    """How a plugin of tools is kept apart: its code runs in a process of its own for each bot, within these limits."""

    seconds: float = Field(default=20, gt=0, le=600)
    """Seconds that one call of a tool may take, whatever the plugin says; then its process is killed."""
    start_seconds: float = Field(default=10, gt=0, le=120)
    """Seconds in which the process must have imported the plugin and made its tools."""
    idle_seconds: float = Field(default=300, gt=0)
    """A process that had no call for so long is ended; the next call starts another."""
    memory_mb: int = Field(default=512, ge=128)
    """Address space that a process may take, Python itself included."""
    result_bytes: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    """A longer result is an error."""
    read: list[str] = Field(default_factory=list)
    """Files and folders that it may read, beside Python, the installed packages and its own file. A relative path
    counts from the project."""
    bot_folder: bool = False
    """Whether it may read its bot's own folder, `tenants/TENANT/BOT`."""
    scratch: bool = False
    """Whether it may write, into an empty folder of its own that goes with the process. A file has at most 16 MB; how
    many there are is not limited."""
    environment: list[Annotated[str, AfterValidator(_is_variable)]] = Field(default_factory=list)
    """Environment variables that it is given; `PATH`, `LANG` and `TZ` it always has."""
    network: bool = False
    """Whether it may open network connections, to anywhere."""
    enforce: Literal["strict", "available"] = "strict"
    """`strict`: where the system cannot enforce all of it, the plugin is refused. `available`: what cannot be enforced
    is left out, with a warning."""
