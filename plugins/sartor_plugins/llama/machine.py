"""What this machine has for computing: threads and memory."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_bytes", "threads"]

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY = Path("/proc/meminfo")
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")
_GUESS = 4 << 30


def threads() -> int:
    """The physical cores that this process may use, at least 1: hyper-threads do not make matrices faster."""
    usable = _usable()
    cores = set()
    for cpu in usable:
        try:
            cores.add(Path(_TOPOLOGY.format(cpu)).read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, min(len(cores), _quota() or len(cores)))


def _usable() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _quota() -> int | None:
    """The CPUs that a container was given, rounded up; None without a limit."""
    try:
        quota, _, period = _QUOTA.read_text().strip().partition(" ")
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def available_bytes() -> int:
    """Memory that is left for this process, in bytes; a guess of 4 GiB where the system does not tell."""
    try:
        told = dict(line.split(":", maxsplit=1) for line in _MEMORY.read_text(encoding="ascii").splitlines())
        left = int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        left = _GUESS
    try:
        limit = _LIMIT.read_text(encoding="ascii").strip()
        return left if limit == "max" else min(left, int(limit) - int(_USED.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return left
