"""PDF files, page by page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError
from sartor.retrieval import Document, Section

from sartor_plugins.documents.outline import one_line
from sartor_plugins.documents.plain import unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pypdf import PdfReader

__all__ = ["read_pdf"]

_MOST_TEXT = 20_000_000
"""Characters that are taken from one file at most."""


def read_pdf(path: Path) -> Document:
    """The text of a PDF: a section for each page, under the bookmarks that point to it or before it.

    Raises `KnowledgeError` for a file that is encrypted, damaged, or has pictures of text only.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise KnowledgeError(
                "it is protected by a password", where=str(path), remedy="Save a copy without the password."
            )
        sections = tuple(_sections(reader))
        title = _title(reader)
    except PyPdfError as exc:
        raise KnowledgeError(f"it is no PDF that can be read: {exc}", where=str(path)) from exc
    if not sections:
        raise KnowledgeError(
            "its pages hold pictures but no text", where=str(path), remedy="Run a text recognition (OCR) on it first."
        )
    return Document(title or path.stem, sections)


def _sections(reader: PdfReader) -> Iterator[Section]:
    headings = _headings(reader)
    heading, size = "", 0
    for number, page in enumerate(reader.pages):
        heading = headings.get(number, heading)
        text = unwrapped(page.extract_text())
        size += len(text)
        if size > _MOST_TEXT:
            raise KnowledgeError("it holds more than 20 million characters", remedy="Split it into several files.")
        if any(map(str.isalnum, text)):
            yield Section(heading, text, f"page={number + 1}")


def _headings(reader: PdfReader) -> dict[int, str]:
    """For each page that a bookmark points to, the path of its first bookmark."""
    found: dict[int, str] = {}
    try:
        pending: list[tuple[object, tuple[str, ...]]] = [(reader.outline, ())]
        while pending:
            entries, path = pending.pop()
            above = path
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, list):
                    pending.append((entry, above))
                    continue
                above = (*path, one_line(str(entry.title)))
                page = reader.get_destination_page_number(entry)
                if page is not None and page not in found:
                    found[page] = " › ".join(above)
    except Exception:  # a broken table of contents takes nothing from the text
        return found
    return found


def _title(reader: PdfReader) -> str:
    """The title that the file claims, unless a program made it up."""
    title = one_line(str(reader.metadata.title or "")) if reader.metadata else ""
    made_up = title.startswith("Microsoft ") or title.lower().endswith((".doc", ".docx", ".pdf", ".indd"))
    return "" if made_up or title.lower() in ("untitled", "title") else title
