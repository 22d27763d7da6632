"""Tests of plugins that read documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

import pytest

from sartor.errors import SartorError
from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.retrieval import Document, Reader
from sartor.testing.suites.base import PluginSuite

__all__ = ["ReaderSuite"]


class ReaderSuite(PluginSuite):
    """Tests of readers: documents with text, and broken files that end with an error and nothing worse."""

    hooks: ClassVar[Sequence[str]] = ("sartor_readers",)
    documents: ClassVar[Mapping[str, tuple[str | bytes, str]]] = {}
    """Files by name, each with a text that must be found in it."""
    broken: ClassVar[Sequence[bytes]] = (b"", b"\x00\xff\xfe\x00", b"%PDF-1.7 broken", b"PK\x03\x04 broken", b"<" * 500)
    """Contents that no document should have."""

    @pytest.fixture
    def readers(self, made: Plugin) -> Mapping[str, Reader]:
        """The readers by suffix."""
        return cast("Mapping[str, Reader]", next(PluginSet([made]).ask("sartor_readers"))[1])

    def test_suffixes_are_in_lower_case_with_a_dot(self, readers: Mapping[str, Reader]) -> None:
        bad = [suffix for suffix in readers if not suffix.startswith(".") or suffix != suffix.lower()]
        assert readers and not bad, f"suffixes that no file is looked up by: {bad}"

    def test_the_examples_are_read(self, readers: Mapping[str, Reader], tmp_path: Path) -> None:
        self.need(self.documents, "files and a text in each, in `documents`")
        for name, (content, expected) in self.documents.items():
            path = tmp_path / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            document = readers[path.suffix](path)
            assert isinstance(document, Document), f"{name}: a {type(document).__name__}, not a Document"
            text = "\n".join(f"{section.heading}\n{section.text}" for section in document.sections)
            assert expected in text, f"{name}: {expected!r} is not in {text[:200]!r}"

    def test_broken_files_are_errors_at_most(self, readers: Mapping[str, Reader], tmp_path: Path) -> None:
        for suffix, read in readers.items():
            for number, content in enumerate(self.broken):
                path = tmp_path / f"broken-{number}{suffix}"
                path.write_bytes(content)
                try:
                    assert isinstance(read(path), Document)
                except SartorError:
                    pass
                except Exception as error:
                    assert not isinstance(error, AssertionError | RecursionError), f"{path.name}: {error!r}"
