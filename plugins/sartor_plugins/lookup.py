"""Tools without code: look up one row of a CSV file by its key.

::

    lookup:
      tools:
        order_status:
          file: orders.csv
          key: order_id
          describe: Look up an order by its number.
          columns: [status, carrier, expected]
          pattern: "BW-\\\\d{4}"

Whoever knows a key can read its row: give keys that cannot be guessed, name only harmless `columns`, or ask for a
second fact with `verify`.
"""

from __future__ import annotations

import csv
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, create_model
from sartor.errors import PluginError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tool import Tool
from sartor.values import BotInfo

__all__ = ["LookupPlugin", "LookupSettings", "Table", "TableSettings"]

_MOST_BYTES = 64 * 1024 * 1024
_LONGEST_KEY = 200


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


ToolName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""What a model can call: lower-case letters, digits and underscores."""


class TableSettings(PluginSettings):
    """One tool: the file that it reads, and what it tells of a row."""

    file: str
    """A CSV file in the bot's folder, UTF-8, with a header; commas, semicolons or tabs between the cells."""
    key: ToolName
    """The column by which rows are found, and the name of the tool's argument."""
    describe: str = Field(min_length=1)
    """What the tool is for: the model chooses by it."""
    columns: tuple[str, ...] = ()
    """The columns that the tool tells, beside the key; empty: all."""
    pattern: Annotated[str, AfterValidator(_is_pattern)] = ""
    """What a key looks like, as a regular expression; told to the model, and not enforced."""
    verify: ToolName | None = None
    """A column whose value the user must know as well, such as ``postcode``; the tool then takes both."""


class LookupSettings(PluginSettings):
    """Settings of the plugin `lookup`."""

    tools: dict[ToolName, TableSettings] = Field(min_length=1)


class LookupPlugin(Plugin):
    """One tool for each entry of `tools`."""

    Settings: ClassVar[type[PluginSettings]] = LookupSettings

    def __init__(self, settings: LookupSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        return [_make_tool(name, table, self.directory) for name, table in self._settings.tools.items()]


def _make_tool(name: str, settings: TableSettings, directory: Path) -> Tool:
    table = Table(name, settings, directory)
    extra = {"pattern": settings.pattern} if settings.pattern else None
    fields: dict[str, object] = {settings.key: (str, Field(description="as the user wrote it", json_schema_extra=extra))}
    if settings.verify:
        fields[settings.verify] = (str, Field(description="as the user wrote it, never guessed"))

    def look_up(**arguments: str) -> dict[str, str] | str:
        return table.find(arguments[settings.key], arguments.get(settings.verify or "", ""))

    arguments = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]
    return Tool(name, settings.describe, look_up, arguments)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What was read of a file, and the state of the file at the time."""

    stamp: tuple[int, int, int]
    rows: Mapping[str, Sequence[Mapping[str, str]]]
    """Rows by folded key: more than one where a key is not unique."""


class Table:
    """A CSV file, read when it is first asked and again when it has changed. Safe in threads."""

    def __init__(self, tool: str, settings: TableSettings, directory: Path) -> None:
        """Checks the file's header, and reads no further. Raises `PluginError`."""
        self._tool = tool
        self._settings = settings
        self._directory = directory
        self._rows: _Rows | None = None
        self._lock = threading.Lock()
        with self._open() as (_, header):
            self._check_header(header)

    def find(self, key: str, verify: str = "") -> dict[str, str] | str:
        """The row of `key`, its empty cells left out, or a sentence that says why there is none.

        Upper and lower case, blanks, dashes and ``#`` make no difference. Raises `PluginError` when the file
        cannot be read any more.
        """
        name = self._settings.key
        folded = _fold(key)
        if not folded or len(key) > _LONGEST_KEY:
            return f"that is no {name}"
        found = self._current().get(folded, ())
        if self._settings.verify:
            found = [row for row in found if _fold(row[self._settings.verify]) == _fold(verify) != ""]
        if not found:
            with_it = f" with that {self._settings.verify}" if self._settings.verify else ""
            return f"no {name} {' '.join(key.split())} found{with_it}"
        if len(found) > 1:
            return f"{len(found)} rows have {name} {found[0][name]}: it is not clear which one is meant"
        columns = self._settings.columns or tuple(found[0])
        hidden = {name, self._settings.verify}
        return {name: found[0][name]} | {
            column: found[0][column] for column in columns if column not in hidden and found[0][column]
        }

    def _current(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        with self._lock, self._open() as (stamp, cells):
            if self._rows is None or self._rows.stamp != stamp:
                self._rows = _Rows(stamp, self._read(cells))
            return self._rows.rows
