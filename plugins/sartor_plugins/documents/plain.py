"""Plain text and tables of comma- or tab-separated values."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError
from sartor.retrieval import Document, Section

from sartor_plugins.documents.outline import one_line, row_line

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["decoded", "read_table", "read_text", "unwrapped"]

_BULLET = re.compile(r"\s*(?:[-*+•‣◦▪–—]|\(?(?:\d{1,3}|[a-z])[.)])\s+")
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})[-\u00ad\u2010]\n(?=[a-zà-ÿ])")
_STOPS = (".", "!", "?", ":", ";", "…", '."', ".)", "»")


def decoded(data: bytes, path: Path) -> str:
    """`data` as text: by its byte order mark, else UTF-8, else Windows-1252. Raises `KnowledgeError` for binary."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise KnowledgeError("it holds no text but binary data", where=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def unwrapped(text: str) -> str:
    """`text` with the line breaks of wrapped paragraphs undone; lists and short lines keep theirs."""
    paragraphs = re.split(r"\n[ \t]*\n", _HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return "\n\n".join(joined for part in paragraphs if (joined := _joined(part)))


def _joined(paragraph: str) -> str:
    lines = [one_line(line) if not _BULLET.match(line) else line.rstrip() for line in paragraph.split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        return ""
    width = max(map(len, lines))
    usual = median(map(len, lines))
    out = [lines[0]]
    for before, line in pairwise(lines):
        full = width >= 45 and len(before) >= 0.6 * max(usual, 0.7 * width)
        ends = before.endswith(_STOPS) and len(before) < 0.8 * width
        if full and not ends and not _BULLET.match(line):
            out[-1] = f"{out[-1]} {line}"
        else:
            out.append(line)
    return "\n".join(out)


def read_text(path: Path) -> Document:
    """A text file, as one section. Its title is the file's name."""
    text = unwrapped(decoded(path.read_bytes(), path))
    return Document(path.stem, (Section("", text),) if text else ())


def read_table(path: Path) -> Document:
    """A table whose first row names the columns: one section, with a line for each further row."""
    text = decoded(path.read_bytes(), path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next((row for row in rows if any(cell.strip() for cell in row)), [])
        lines = [row_line(header, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as exc:
        raise KnowledgeError(f"line {rows.line_num} is no row of a table: {exc}", where=str(path)) from exc
    return Document(path.stem, (Section("", "\n".join(lines)),) if lines else ())


def _delimiter(text: str) -> str:
    """The separator that gives the most columns, and the same number in the first rows."""
    sample = text.splitlines()[:20]

    def fit(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        if not widths or widths[0] == 1:
            return 0.0, 0
        return widths.count(widths[0]) / len(widths), widths[0]

    return max((",", ";", "\t", "|"), key=fit)
