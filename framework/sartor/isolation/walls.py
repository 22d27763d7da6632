"""What the process of an isolated plugin gives up before it sees a line of the plugin's code."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.isolation import landlock
from sartor.isolation.seccomp import filter_calls, known_machine

__all__ = ["Walls", "die_with_parent", "missing", "raise_walls"]

_FILE_BYTES = 16 << 20
_OPEN_FILES = 64
_CPU_SECONDS = 3600
"""Of a process in all; then the kernel ends it, and the next call has a new one."""
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_DUMPABLE = 1, 24, 4
_PR_SET_NO_NEW_PRIVS = 38
_LAST_CAPABILITY = 63
_CAPABILITIES_VERSION = 0x20080522
_PREFERRED_VICTIM = "900"


@dataclass(frozen=True, slots=True)
class Walls:
    """What one process may do."""

    memory: int
    """Bytes of address space."""
    read: Sequence[str]
    write: Sequence[str]
    network: bool


def die_with_parent(parent: int) -> None:
    """Be killed when the thread ends that started this process, whatever the plugin does. Only Linux can do it;
    elsewhere the end of the socket must be noticed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


def missing() -> list[str]:
    """What this system cannot enforce, in words."""
    lacks = []
    if landlock.version() < landlock.LEAST:
        lacks.append(f"files (it takes Landlock {landlock.LEAST}, of Linux 6.2)")
    if not known_machine():
        lacks.append("programs, signals and the network (it takes seccomp, on x86-64 or ARM64)")
    return lacks


def raise_walls(walls: Walls) -> None:
    """Give up everything else, for good. What `missing` names is left out. Raises `OSError`, `ValueError`."""
    _limit(walls.memory)
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write(_PREFERRED_VICTIM)
    if len(os.listdir("/proc/self/task")) > 1:
        raise OSError("there are other threads, which would stay outside of the walls")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _drop_capabilities(libc)
    if landlock.version() >= landlock.LEAST:
        landlock.restrict_files(walls.read, walls.write)
    if known_machine():
        filter_calls(walls.network)


def _limit(memory: int) -> None:
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CPU: _CPU_SECONDS,
        resource.RLIMIT_AS: memory,
    }
    for what, wanted in limits.items():
        _, most = resource.getrlimit(what)
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        try:
            resource.setrlimit(what, (bound, bound))
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise  # macOS has no RLIMIT_AS


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """A process of root's is as weak as any other one then."""
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    head = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES_VERSION, 0))
    none = ctypes.create_string_buffer(struct.pack("=6I", 0, 0, 0, 0, 0, 0))
    if libc.capset(head, none) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
