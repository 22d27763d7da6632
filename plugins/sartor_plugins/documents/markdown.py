"""Markdown, with its headings, lists and tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sartor_plugins.documents.outline import Outline
from sartor_plugins.documents.plain import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from markdown_it.token import Token
    from sartor.retrieval import Document

__all__ = ["read_markdown"]

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<[^<>]*>")


def read_markdown(path: Path) -> Document:
    """A Markdown file (CommonMark with tables). Front matter gives at most the title."""
    from markdown_it import MarkdownIt

    text = decoded(path.read_bytes(), path).replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    title = _TITLE.search(front.group(1)) if front else None
    outline = Outline(title.group(1).strip() if title else "")
    tokens = MarkdownIt("commonmark").enable("table").parse(text[front.end() :] if front else text)
    _Walk(outline).run(tokens)
    return outline.document(path.stem)


class _Walk:
    """Goes through the tokens of a Markdown text and writes an outline."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._level = 0
        self._lists: list[str] = []
        self._marker = ""
        self._rows: list[list[str]] | None = None

    def run(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            match token.type:
                case "heading_open":
                    self._level = int(token.tag[1:])
                case "bullet_list_open" | "ordered_list_open":
                    self._lists.append(token.type)
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    self._marker = f"{token.info}{token.markup} " if token.info else "- "
                case "table_open":
                    self._rows = []
                case "tr_open" if self._rows is not None:
                    self._rows.append([])
                case "table_close":
                    self._outline.table(self._rows or [], header=True)
                    self._rows = None
                case "inline":
                    self._text(_plain(token.children or ()))
                case "fence" | "code_block":
                    for line in token.content.splitlines():
                        self._outline.line(line)
                case "html_block":
                    self._text(_TAG.sub(" ", token.content))

    def _text(self, text: str) -> None:
        if self._level:
            self._outline.heading(self._level, text)
            self._level = 0
        elif self._rows:
            self._rows[-1].append(text)
        elif self._lists:
            self._outline.line(self._marker + text if text.strip() else "", indent=len(self._lists) - 1)
            self._marker = ""
        else:
            self._outline.paragraph(text)


def _plain(tokens: Sequence[Token]) -> str:
    """The text of inline tokens: links keep their words, images their description."""
    parts = []
    for token in tokens:
        if token.type in ("text", "code_inline", "text_special"):
            parts.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type == "image":
            parts.append(_plain(token.children or ()))
    return "".join(parts)
