"""DOCX files of Word and its kin."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from sartor.errors import KnowledgeError

from sartor_plugins.documents.outline import Outline, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from docx.text.paragraph import Paragraph
    from sartor.retrieval import Document

__all__ = ["read_docx"]

_MOST_BYTES = 200_000_000
"""What a file may unpack to; more is taken for an attack."""

_HEADING = re.compile(r"(?:heading|titre|überschrift|título|titolo|kop) ?(\d)", re.IGNORECASE)


def read_docx(path: Path) -> Document:
    """Headings, paragraphs, lists and tables of a DOCX file. Raises `KnowledgeError` for anything else."""
    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table

    _check_size(path)
    try:
        document = docx.Document(str(path))
        outline = Outline()
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                rows = [[cell.text for cell in row.cells] for row in block.rows]
                outline.table(rows, header=len(rows) > 1 and len(rows[0]) > 2)
            else:
                _paragraph(outline, block)
    except (OpcError, KeyError, ValueError, zipfile.BadZipFile) as exc:
        raise KnowledgeError(f"it is no DOCX file that can be read: {exc}", where=str(path)) from exc
    return outline.document(one_line(document.core_properties.title or "") or path.stem)


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as exc:
        raise KnowledgeError(f"it is no DOCX file that can be read: {exc}", where=str(path)) from exc
    if size > _MOST_BYTES:
        raise KnowledgeError(f"it unpacks to {size / 1e6:.0f} MB, more than a document holds", where=str(path))


def _paragraph(outline: Outline, paragraph: Paragraph) -> None:
    style = paragraph.style.name if paragraph.style and paragraph.style.name else ""
    heading = _HEADING.fullmatch(style)
    properties = paragraph._p.pPr
    numbered = properties is not None and properties.numPr is not None
    if style == "Title":
        outline.heading(1, paragraph.text)
    elif heading:
        outline.heading(int(heading.group(1)) + 1 if outline.title else int(heading.group(1)), paragraph.text)
    elif numbered or style.startswith("List "):
        text = one_line(paragraph.text)
        outline.line(f"- {text}" if text else "")
    else:
        outline.paragraph(paragraph.text)
