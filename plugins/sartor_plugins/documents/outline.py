"""A document under construction: headings open sections, and blocks of text fill them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sartor.retrieval import Document, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Outline", "one_line", "row_line"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff]")


def one_line(text: str) -> str:
    """`text` on one line, with single blanks and without control characters."""
    return " ".join(_CONTROLS.sub("", text).split())


def row_line(header: Sequence[str], cells: Sequence[str]) -> str:
    """A table row as a line that can be quoted: ``Blue — price: 3.50, stock: 4``; without header ``Monday: 9 to 5``."""
    cells = [one_line(cell) for cell in cells]
    if not header:
        filled = [cell for cell in cells if cell]
        return (": " if len(filled) == 2 else ", ").join(filled)
    names = [one_line(name) for name in header]
    pairs = [
        f"{name}: {cell}" if name else cell
        for name, cell in zip(names[1:] + [""] * len(cells), cells[1:], strict=False)
        if cell
    ]
    first = cells[0] if cells else ""
    return " — ".join(part for part in (first, ", ".join(pairs)) if part)


class Outline:
    """Collects a document from top to bottom."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._path: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._tight = False
        self._sections: list[Section] = []

    def heading(self, level: int, text: str) -> None:
        """Open a section. The first heading of level 1, before any text, is the document's title."""
        text = one_line(text)
        if not text:
            return
        self._flush()
        if level == 1 and not self._sections and not self._path and self.title in ("", text):
            self.title = text
            return
        self._path = [(above, name) for above, name in self._path if above < level]
        self._path.append((level, text))

    def paragraph(self, text: str) -> None:
        """A block of its own."""
        self._add(one_line(text), tight=False)

    def line(self, text: str, indent: int = 0) -> None:
        """A list item or a row: a line directly below the line before it."""
        text = one_line(text)
        self._add("  " * indent + text if text else "", tight=True)

    def table(self, rows: Sequence[Sequence[str]], *, header: bool) -> None:
        """A table as lines; `header`: whether its first row names the columns."""
        self._tight = False
        for row in rows[1:] if header else rows:
            self.line(row_line(rows[0] if header else (), row))
        self._tight = False

    def document(self, title: str) -> Document:
        """The finished document, called `title` where it does not name itself."""
        self._flush()
        return Document(self.title or title, tuple(self._sections))

    def _add(self, text: str, *, tight: bool) -> None:
        if not text:
            return
        if self._blocks:
            self._blocks.append("\n" if tight and self._tight else "\n\n")
        self._blocks.append(text)
        self._tight = tight

    def _flush(self) -> None:
        if self._blocks:
            self._sections.append(Section(" › ".join(name for _, name in self._path), "".join(self._blocks)))
        self._blocks = []
        self._tight = False
