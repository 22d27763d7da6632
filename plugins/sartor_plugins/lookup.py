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
import logging
import os
import re
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TextIO

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, create_model, model_validator
from sartor.errors import PluginError, ToolError
from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.tools import Tool
from sartor.values import BotInfo

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

__all__ = ["LookupPlugin", "LookupSettings", "Table", "TableSettings"]

log = logging.getLogger("sartor.lookup")

_MOST_BYTES = 64 * 1024 * 1024
_LONGEST_KEY = 200
_LONGEST_HEADER = 65_536


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
    key: str
    """The column by which rows are found, and, in small letters, the name of the tool's argument."""
    describe: str = Field(min_length=1)
    """What the tool is for: the model chooses by it."""
    columns: tuple[str, ...] = ()
    """The columns that the tool tells, beside the key; empty: all."""
    pattern: Annotated[str, AfterValidator(_is_pattern)] = ""
    """What a key looks like, as a regular expression. The tool is offered to the model only where the user wrote
    something that looks so, in letters of either case; the model picks it out and cannot make one up."""
    verify: str | None = None
    """A column whose value the user must know as well, such as ``postcode``; the tool then takes both."""
    check: ToolName | None = None
    """The name of a second tool over the same file, which only flows may call: it fails where no row has the key, so
    that a flow's `check` asks for it again."""

    @model_validator(mode="after")
    def _two_columns(self) -> TableSettings:
        if self.verify and _argument(self.verify) == _argument(self.key):
            raise ValueError("`verify` must be another column than `key`")
        return self


class LookupSettings(PluginSettings):
    """Settings of the plugin `lookup`."""

    tools: dict[ToolName, TableSettings] = Field(min_length=1)
    """The tools by name."""


class LookupPlugin(Plugin):
    """One tool for each entry of `tools`."""

    Settings: ClassVar[type[PluginSettings]] = LookupSettings
    hook_versions = "1"

    def __init__(self, settings: LookupSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_tools(self, bot: BotInfo) -> Sequence[Tool]:
        return [one for name, table in self._settings.tools.items() for one in _make_tools(name, table, self.directory)]


def _make_tools(name: str, settings: TableSettings, directory: Path) -> Iterator[Tool]:
    table = Table(settings, directory)
    key, second = _argument(settings.key), _argument(settings.verify or "")
    extra: dict[str, JsonValue] = {"pattern": f"^(?:{settings.pattern})$"} if settings.pattern else {}
    told = f"{settings.key}, as the user wrote it"
    fields: dict[str, object] = {key: (str, Field(description=told, json_schema_extra=extra))}
    if settings.verify:
        fields[second] = (str, Field(description=f"{settings.verify}, as the user wrote it; never guessed"))

    def look_up(**arguments: str) -> dict[str, str] | str:
        return table.find(arguments[key], arguments.get(second, ""))

    def check(**arguments: str) -> dict[str, str]:
        found = look_up(**arguments)
        if isinstance(found, str):
            raise ToolError(found)
        return found

    arguments = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]
    yield Tool(name, settings.describe, look_up, arguments, from_user=frozenset(fields))
    if settings.check:
        yield Tool(settings.check, settings.describe, check, arguments, for_flows=True)


def _argument(column: str) -> str:
    """A column as the name of an argument: ``N° commande`` becomes ``n_commande``."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"key_{name}".rstrip("_")


Row = Mapping[str, str]
Stamp = tuple[int, int, int]


class Table:
    """A CSV file, read when it is first asked and again when it has changed. Safe in threads."""

    def __init__(self, settings: TableSettings, directory: Path) -> None:
        """Checks the file's header, and reads no further. Raises `PluginError`."""
        self._settings = settings
        self._directory = directory
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._rows: Mapping[str, Sequence[Row]] = {}
        with self._open() as file:
            self._reader(file)

    def find(self, key: str, verify: str = "") -> dict[str, str] | str:
        """The row of `key`, its empty cells left out, or a sentence that says why there is none.

        Upper and lower case, blanks, dashes and ``#`` make no difference. Raises `PluginError` when the file
        cannot be read any more.
        """
        name, second = self._settings.key, self._settings.verify
        folded = _fold(key)
        if not folded or len(key) > _LONGEST_KEY:
            return f"that is no {name}"
        found = self._current().get(folded, ())
        if second:
            found = [row for row in found if _fold(row[second]) == _fold(verify) != ""]
        if not found:
            return f"no {name} {' '.join(key.split())} found" + (f" with that {second}" if second else "")
        if len(found) > 1:
            return f"{len(found)} rows have {name} {found[0][name]}: it is not clear which one is meant"
        row = found[0]
        told = [column for column in self._settings.columns or row if column not in (name, second) and row[column]]
        return {name: row[name]} | {column: row[column] for column in told}

    def _current(self) -> Mapping[str, Sequence[Row]]:
        """The rows by folded key, read anew when the file is another one than at the last time."""
        with self._lock, self._open() as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._rows, self._stamp = self._read(file), stamp
            return self._rows

    def _read(self, file: TextIO) -> Mapping[str, Sequence[Row]]:
        header, cells = self._reader(file)
        rows: dict[str, list[Row]] = {}
        try:
            for row in cells:
                if not any(row):
                    continue
                if len(row) != len(header):
                    log.warning(
                        "%s:%d: %d cells, not %d; left out", file.name, cells.line_num + 1, len(row), len(header)
                    )
                    continue
                filled = {column: cell.strip() for column, cell in zip(header, row, strict=True)}
                rows.setdefault(_fold(filled[self._settings.key]), []).append(filled)
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._fault(
                f"cannot be read after line {cells.line_num + 1}: {error}", "Save it as CSV in UTF-8."
            ) from error
        return rows

    def _reader(self, file: TextIO) -> tuple[list[str], CSVReader]:
        """The header of `file`, checked, and what reads the lines after it."""
        try:
            first = file.readline(_LONGEST_HEADER)
            delimiter = max(",;\t", key=first.count)
            header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._fault(f"has no header that can be read: {error}", "Save it as CSV in UTF-8.") from error
        known = f"Its columns are: {', '.join(header) or 'none'}."
        for column in header:
            if header.count(column) > 1:
                raise self._fault(f"has two columns {column!r}", "Rename one of them.")
        for wanted in (self._settings.key, *self._settings.columns, self._settings.verify):
            if wanted is not None and wanted not in header:
                raise self._fault(f"has no column {wanted!r}", known)
        return header, csv.reader(file, delimiter=delimiter)

    def _open(self) -> TextIO:
        root = self._directory.resolve()
        try:
            path = (root / self._settings.file).resolve()
            if not path.is_relative_to(root):
                raise self._fault("is outside the bot's folder", f"Put the file into {root}.")
            file = path.open(encoding="utf-8-sig", newline="")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise self._fault(f"cannot be read: {why}", f"Put the file into {root}, or correct `file`.") from error
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            file.close()
            raise self._fault(f"is larger than {_MOST_BYTES // 1024**2} MiB", "Use a tool in Python for a big table.")
        return file

    def _fault(self, what: str, remedy: str) -> PluginError:
        return PluginError(f"lookup: {self._settings.file} {what}", where=str(self._directory), remedy=remedy)


def _fold(key: str) -> str:
    """What counts of a key: its letters and digits."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", key))).casefold()
