"""Landlock: Linux's way for a process without privileges to give up the file system."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable

__all__ = ["LEAST", "restrict_files", "version"]

LEAST = 3
"""The first version that keeps files from being cut short (Linux 6.2)."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_RULE_PATH, _FLAG_VERSION = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_UP_TO_3 = (1 << 15) - 1
_SCOPES = 0b11

_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL


def version() -> int:
    """The version of Landlock that the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), _FLAG_VERSION)))


def restrict_files(read: Iterable[str], write: Iterable[str]) -> None:
    """Let this thread, and threads that it starts, open only what is below these paths. There is no way back, and
    `PR_SET_NO_NEW_PRIVS` must be set. Paths that are not there are left out. Raises `OSError`."""
    abi = version()
    handled = _UP_TO_3 | (_IOCTL if abi >= 5 else 0)
    attributes = struct.pack("QQQ", handled, 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    libc = _libc()
    rules = _checked(libc.syscall(_CREATE, ctypes.create_string_buffer(attributes), ctypes.c_size_t(size), 0))
    try:
        for paths, access in ((read, _READ), (write, _READ | _WRITE)):
            for path in paths:
                _add(libc, rules, path, access)
        _checked(libc.syscall(_RESTRICT, rules, 0))
    finally:
        os.close(rules)


def _add(libc: ctypes.CDLL, rules: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed = access if os.path.isdir(path) else access & _OF_FILES
        rule = struct.pack("=Qi", allowed, place)
        _checked(libc.syscall(_ADD, rules, _RULE_PATH, ctypes.create_string_buffer(rule), 0))
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
