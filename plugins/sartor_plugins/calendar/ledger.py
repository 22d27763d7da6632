"""Where bookings are kept: an SQLite file, safe with several processes.

Time is cut into cells of five minutes. An appointment takes cells of one unit, and the file's own constraint lets each
be taken once, so that no two appointments of a unit can ever share a minute.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sartor.errors import DiskError

from sartor_plugins.calendar.feed import write_feed
from sartor_plugins.calendar.plan import Plan

__all__ = ["Appointment", "Ledger", "Pages", "tidy_code"]

log = logging.getLogger("sartor.calendar")

_WAIT = 10.0
"""Seconds for which a booking waits for those before it."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that a code is never a word."""

_TABLES = """
CREATE TABLE IF NOT EXISTS appointment (
    code TEXT PRIMARY KEY, owner TEXT NOT NULL, turn TEXT NOT NULL, service TEXT NOT NULL, unit TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, name TEXT NOT NULL, contact TEXT NOT NULL, note TEXT NOT NULL,
    people INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS appointment_owner ON appointment (owner, end);
CREATE TABLE IF NOT EXISTS cell (
    unit TEXT NOT NULL, at INTEGER NOT NULL,
    code TEXT NOT NULL REFERENCES appointment (code) ON DELETE CASCADE,
    PRIMARY KEY (unit, at)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cell_code ON cell (code);
"""


@dataclass(frozen=True, slots=True)
class Appointment:
    """One booking."""

    code: str
    owner: str
    turn: str
    """The turn that made it, so that a turn that is repeated makes no second one."""
    service: str
    unit: str
    start: datetime
    """In UTC."""
    end: datetime
    name: str
    contact: str = ""
    note: str = ""
    people: int = 1


class Ledger:
    """The bookings of one calendar. Nothing is opened before it is needed, and nothing kept open."""

    def __init__(self, path: Path, plan: Plan, language: str) -> None:
        self.path = path
        self._plan = plan
        self._language = language

    @contextmanager
    def reading(self) -> Iterator[Pages]:
        """The bookings as they are. Raises `DiskError`."""
        with self._open() as connection:
            yield Pages(connection)

    @contextmanager
    def writing(self, keep: datetime) -> Iterator[Pages]:
        """The bookings, to be changed by nobody else meanwhile; kept when nothing is raised, and then the calendar
        file is written anew. What ended before `keep` is forgotten. Raises `DiskError`."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute("DELETE FROM appointment WHERE end < ?", (int(keep.timestamp()),))
                yield Pages(connection)
                self._feed(Pages(connection))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _feed(self, pages: Pages) -> None:
        try:
            write_feed(self.path.with_suffix(".ics"), pages.all(), self._plan, self._language)
        except OSError as error:
            log.warning("%s cannot be written: %s; the booking stands", self.path.with_suffix(".ics"), error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as connection:
                _prepare(connection)
                yield connection
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            raise DiskError(
                f"calendar: the bookings cannot be read or written: {error}",
                where=str(self.path),
                remedy="Look at the file's rights and the space on the disk.",
            ) from error


def _prepare(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for others who open a new file at the same moment to switch to the log: so we do."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(_TABLES)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


class Pages:
    """The bookings within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def taken(self, units: Sequence[str], cells: range, but: str = "") -> set[tuple[str, int]]:
        """Of these units, the cells that are taken, but for those of the appointment `but`."""
        marks = ",".join("?" * len(units))
        query = f"SELECT unit, at FROM cell WHERE unit IN ({marks}) AND at >= ? AND at < ? AND code != ?"
        return set(self._connection.execute(query, (*units, cells.start, cells.stop, but)))

    def add(self, made: Appointment, cells: range) -> None:
        """Write an appointment down."""
        values = (made.code, made.owner, made.turn, made.service, made.unit, int(made.start.timestamp()),
                  int(made.end.timestamp()), made.name, made.contact, made.note, made.people)  # fmt: skip
        self._connection.execute(f"INSERT INTO appointment VALUES ({','.join('?' * len(values))})", values)
        self._connection.executemany("INSERT INTO cell VALUES (?, ?, ?)", [(made.unit, at, made.code) for at in cells])

    def remove(self, code: str) -> None:
        """Take an appointment out, so that its time is free."""
        self._connection.execute("DELETE FROM appointment WHERE code = ?", (code,))

    def find(self, code: str) -> Appointment | None:
        """The appointment with that code."""
        return next(self._select("code = ?", code), None)

    def of_turn(self, turn: str, owner: str) -> Sequence[Appointment]:
        """What was booked in a turn."""
        return [*self._select("turn = ? AND owner = ?", turn, owner)]

    def ahead(self, owner: str, now: datetime) -> int:
        """How many appointments of a user are still to come."""
        return len([*self._select("owner = ? AND end > ?", owner, int(now.timestamp()))])

    def all(self) -> Sequence[Appointment]:
        """All that are kept, in their order in time."""
        return [*self._select("1")]

    def new_code(self) -> str:
        """A code that nobody can guess, and that nobody has."""
        while True:
            letters = "".join(secrets.choice(_LETTERS) for _ in range(5))
            code = f"{letters}-{secrets.randbelow(10**6):06}"
            if self.find(code) is None:
                return code

    def _select(self, where: str, *values: str | int) -> Iterator[Appointment]:
        for row in self._connection.execute(f"SELECT * FROM appointment WHERE {where} ORDER BY start, unit", values):
            code, owner, turn, service, unit, start, end, *rest = row
            begins, ends = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
            yield Appointment(code, owner, turn, service, unit, begins, ends, *rest)


def tidy_code(told: str) -> str:
    """A code as it is kept, however it was typed."""
    plain = "".join(filter(str.isalnum, told)).upper()
    return f"{plain[:5]}-{plain[5:]}"
