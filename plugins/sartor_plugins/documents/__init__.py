"""Readers of Markdown, HTML, PDF, DOCX, CSV and plain text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from pydantic import Field
from sartor.errors import KnowledgeError
from sartor.hookspecs import hookimpl
from sartor.plugin import Plugin, PluginSettings

from sartor_plugins.documents.markdown import read_markdown
from sartor_plugins.documents.office import read_docx
from sartor_plugins.documents.pdf import read_pdf
from sartor_plugins.documents.plain import read_table, read_text
from sartor_plugins.documents.web import read_html

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sartor.retrieval import Document, Reader

__all__ = ["DocumentsPlugin", "DocumentsSettings"]

_READERS: Mapping[str, Reader] = {
    ".csv": read_table,
    ".docx": read_docx,
    ".htm": read_html,
    ".html": read_html,
    ".markdown": read_markdown,
    ".md": read_markdown,
    ".pdf": read_pdf,
    ".tsv": read_table,
    ".txt": read_text,
}


class DocumentsSettings(PluginSettings):
    """What stands under `documents` in `sartor.yaml`."""

    max_megabytes: float = Field(default=50, gt=0)
    """Larger files are refused."""


class DocumentsPlugin(Plugin):
    """Reads the usual kinds of documents. Each format's library is imported when the first such file is read."""

    Settings = DocumentsSettings
    hook_versions = "1"

    @hookimpl
    def sartor_readers(self) -> Mapping[str, Reader]:
        megabytes = cast("DocumentsSettings", self.settings).max_megabytes
        return {suffix: partial(_read, reader, megabytes) for suffix, reader in _READERS.items()}


def _read(reader: Reader, megabytes: float, path: Path) -> Document:
    """What `reader` makes of `path`. Raises `KnowledgeError` for a file that is too large or whose library is
    not installed."""
    size = path.stat().st_size / 1e6
    if size > megabytes:
        raise KnowledgeError(
            f"it has {size:.1f} MB, and at most {megabytes:g} MB are read",
            where=str(path),
            remedy="Split it, or raise max_megabytes of the plugin documents in sartor.yaml.",
        )
    try:
        return reader(path)
    except ImportError as exc:
        raise KnowledgeError(
            f"{path.suffix} files need the package {exc.name}",
            where=str(path),
            remedy="pip install 'sartor[knowledge]'",
        ) from exc
