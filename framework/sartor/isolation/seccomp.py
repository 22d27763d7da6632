"""A filter of system calls for the process of an isolated plugin: no programs, no other processes, no network.

What Landlock leaves open is closed here too: signals to others, modes and times of files, other processes' limits.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from sartor.isolation.syscalls import FIRST_UNKNOWN, MACHINES

__all__ = ["filter_calls", "known_machine"]

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _MODE_FILTER = 1, 22, 2
_INTERNET = (2, 10)

_OWN_PROCESS = ("kill", "tgkill")
"""Allowed for the process itself, which is their first argument."""
_NOTICES = {"fcntl": (8, 10, 15), "ioctl": (0x8901, 0x8902)}
"""By their second argument, what has the kernel send a signal to any process (F_SETOWN, F_SETSIG, FIOSETOWN)."""
_SPECIAL = {*_OWN_PROCESS, *_NOTICES, "clone", "clone3", "socket", "prlimit64", "prctl"}

_Instruction = tuple[int, int, int, int]


def known_machine() -> bool:
    """Whether system calls can be filtered here."""
    return sys.platform == "linux" and os.uname().machine in MACHINES and struct.calcsize("P") == 8


def filter_calls(network: bool) -> None:
    """Filter what this process, and all of its threads that come, may ask of the kernel. There is no way back, and
    `PR_SET_NO_NEW_PRIVS` must be set. Raises `OSError`."""
    code = b"".join(struct.pack("HBBI", *one) for one in _program(network, os.getpid()))
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _program(network: bool, own: int) -> list[_Instruction]:
    machine = MACHINES[os.uname().machine]
    calls = machine.calls
    made: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, FIRST_UNKNOWN),  # and the calls of x32, which have a bit of their own
        _error(errno.ENOSYS),
    ]
    for name, number in calls.items():
        if name not in _SPECIAL:
            made += [(_EQUAL, 0, 1, number), _error(errno.EPERM)]
    made += [(_EQUAL, 0, 1, calls["clone3"]), _error(errno.ENOSYS)]  # the C library then takes clone, whose flags show
    made += _case(calls["clone"], [_argument(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), _error(errno.EPERM)])
    families = _INTERNET if network else ()
    allowed = [(_EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
    made += _case(calls["socket"], [_argument(0), *allowed, _error(errno.EPERM)])
    for name in _OWN_PROCESS:
        made += _case(calls[name], [_argument(0), (_EQUAL, 1, 0, own), _error(errno.EPERM)])
    for name, kinds in _NOTICES.items():
        refused = [
            (_EQUAL, len(kinds) - at - 1, 1 if at == len(kinds) - 1 else 0, kind) for at, kind in enumerate(kinds)
        ]
        made += _case(calls[name], [_argument(1), *refused, _error(errno.EPERM)])
    made += _case(calls["prlimit64"], [_argument(0), (_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, own), _error(errno.EPERM)])
    made += _case(calls["prctl"], [_argument(0), (_EQUAL, 0, 1, _PR_SET_PDEATHSIG), _error(errno.EPERM)])
    return [*made, (_RETURN, 0, 0, _ALLOW)]


def _case(number: int, then: list[_Instruction]) -> list[_Instruction]:
    """What is done for the call `number`, with an allow behind it; the number is in the accumulator before."""
    return [(_EQUAL, 0, len(then) + 1, number), *then, (_RETURN, 0, 0, _ALLOW)]


def _argument(at: int) -> _Instruction:
    """Load the lower half of an argument. Both machines have it first."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * at)


def _error(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERROR | number)
