"""Statements that run in every turn, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Generic, TypeVar, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Insert
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import TypedReturnsRows

__all__ = ["Prepared"]

Row = TypeVar("Row", bound=tuple[object, ...])

_Bind = tuple[str, Callable[[object], object] | None, object]
"""A parameter's name, what turns a value into the driver's, and the value where none is given."""


class Prepared(Generic[Row]):
    """A statement without parts that vary. On SQLite the driver runs it directly.

    There SQLAlchemy's own execution takes several times as long as the statement, and a turn has five of them. It
    is used all the same to write and compile them, and on other databases, whose network takes longer, to run them.
    Rows hold what the driver gives, so it is for columns whose types change nothing when they are read.
    """

    def __init__(self, statement: TypedReturnsRows[Row] | Insert) -> None:
        self._statement = statement
        self._compiled: tuple[str, Sequence[_Bind]] | None = None

    def run(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Row]:
        """Execute it in the transaction that has begun; the rows that it gives.

        On SQLite errors are the driver's own, `sqlite3.Error`, not SQLAlchemy's.
        """
        if connection.dialect.name != "sqlite":
            result = connection.execute(self._statement, values)
            return cast("Sequence[Row]", result.all() if result.returns_rows else ())
        if self._compiled is None:
            self._compiled = _compile(self._statement, connection.dialect)
        sql, binds = self._compiled
        given = ((process, values.get(name, default)) for name, process, default in binds)
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(sql, [process(value) if process else value for process, value in given])
            return cast("Sequence[Row]", cursor.fetchall())


def _compile(statement: ClauseElement, dialect: Dialect) -> tuple[str, Sequence[_Bind]]:
    compiled = cast("SQLCompiler", statement.compile(dialect=dialect))
    binds = [(name, compiled.binds[name]) for name in compiled.positiontup or ()]
    return str(compiled), [
        (name, bind.type.dialect_impl(dialect).bind_processor(dialect), bind.value) for name, bind in binds
    ]
