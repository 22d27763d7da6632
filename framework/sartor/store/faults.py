"""The one place where errors of databases and drivers become `StoreError`."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from sartor.errors import StoreError

__all__ = ["Driver", "is_transient", "translated"]

Driver = tuple[type[Exception], ...]
"""Exception classes of a driver that can get past SQLAlchemy."""

_Fault = tuple[str, str]

_FULL: _Fault = (
    "There is no room left for the state database",
    "Make room on the disk, then try again: nothing was half-written.",
)
_LOCKED: _Fault = (
    "The state database is locked by another process",
    "End what holds it (a backup, a database browser, a long `sartor` command), then try again.",
)
_READ_ONLY: _Fault = (
    "The state database cannot be written to",
    "Give the user that runs Sartor the right to write the database and its folder.",
)
_UNREACHABLE: _Fault = (
    "The state database cannot be reached",
    "Check the address under `storage` in sartor.yaml, and that the folder or the server is there.",
)
_DAMAGED: _Fault = (
    "The state database is damaged, or is no database at all",
    "Restore it from a backup, or name another file under `storage` in sartor.yaml.",
)
_DISK: _Fault = (
    "The disk of the state database failed",
    "Look for errors of the disk or the network drive, then try again or restore a backup.",
)
_MEMORY: _Fault = ("There is no memory left for the state database", "Free memory, then try again.")
_REFUSED: _Fault = (
    "The state database does not let Sartor in",
    "Check the user and the password under `storage` in sartor.yaml, and the user's rights.",
)
_CROWDED: _Fault = (
    "The state database takes no more connections",
    "Raise the server's limit of connections, or run fewer processes.",
)
_SLOW: _Fault = (
    "The state database did not answer in time",
    "Look at the server's load and at the queries that run on it, then try again.",
)
_OCCUPIED: _Fault = (
    "The database holds tables that are not Sartor's",
    "Give Sartor a database of its own, or a PostgreSQL schema by `search_path`.",
)
_VALUE: _Fault = (
    "The state database cannot hold a value",
    "Times need a time zone, numbers must be finite, and texts at most a gigabyte long.",
)
_ERASED: _Fault = (
    "What was written to in the state database vanished meanwhile",
    "The tenant is being erased. Try again, if it is to have data again.",
)
_OTHER: _Fault = (
    "The state database refused a statement",
    "If nobody changed its tables by hand, please report this with the cause that is chained to it.",
)

_SQLITE: dict[int, _Fault] = {
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_NOMEM: _MEMORY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CANTOPEN: _UNREACHABLE,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_TOOBIG: _VALUE,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_ROOM_FOR_WAL = {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
"""How SQLite reports a full disk where it extends the shared memory of the write-ahead log."""

_POSTGRES: dict[str, _Fault] = {
    "08": _UNREACHABLE,
    "22": _VALUE,
    "25006": _READ_ONLY,
    "23503": _ERASED,
    "28": _REFUSED,
    "3D": _UNREACHABLE,
    "40": _LOCKED,
    "42501": _REFUSED,
    "42P07": _OCCUPIED,
    "53": _FULL,
    "53200": _MEMORY,
    "53300": _CROWDED,
    "54": _VALUE,
    "55P03": _LOCKED,
    "57": _UNREACHABLE,
    "57014": _SLOW,
    "58": _DISK,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
"""By SQLSTATE, or by the class that its first two characters are."""

_ERRNO: dict[int, _Fault] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
    errno.EIO: _DISK,
}


@contextmanager
def translated(place: str, driver: Driver = ()) -> Iterator[None]:
    """Let what SQLAlchemy, the driver and the operating system raise inside become `StoreError`, with its cause.

    So does a value that the database cannot hold (`ValueError`, `OverflowError`). `place` is the address of the
    database without its password. Sartor's own errors, and mistakes in its code such as `KeyError`, pass unchanged.
    """
    known: Driver = (SQLAlchemyError, sqlite3.Error, OSError, ValueError, OverflowError, *driver)
    try:
        yield
    except known as error:
        what, remedy = _fault(error)
        raise StoreError(f"{what} ({_said(error)})", where=place, remedy=remedy) from error


def is_transient(error: Exception) -> bool:
    """Whether the same transaction, begun anew, may succeed: the database was locked or chose it to give way."""
    return _fault(error) is _LOCKED


def _origin(error: BaseException) -> BaseException:
    """The driver's error beneath SQLAlchemy's."""
    while isinstance(error, StatementError) and error.orig is not None and error.orig is not error:
        error = error.orig
    return error


def _fault(error: Exception) -> _Fault:
    origin = _origin(error)
    if isinstance(origin, sqlite3.Error):
        return _sqlite_fault(origin)
    state = getattr(origin, "sqlstate", None)
    if isinstance(state, str):
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2], _OTHER)
    if isinstance(origin, OSError):
        return _ERRNO.get(origin.errno or 0, _UNREACHABLE)
    if isinstance(origin, ValueError | TypeError | OverflowError):
        return _VALUE
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _UNREACHABLE
    return _OTHER


def _sqlite_fault(error: sqlite3.Error) -> _Fault:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code in _ROOM_FOR_WAL:
        return _FULL
    if code == sqlite3.SQLITE_ERROR and "already exists" in str(error):
        return _OCCUPIED
    return _SQLITE.get(code & 0xFF, _OTHER)


def _said(error: BaseException) -> str:
    """The driver's own words on one line: never the statement's parameters, which may be a user's text."""
    origin = _origin(error)
    return " ".join(str(origin).split())[:200] or type(origin).__name__
