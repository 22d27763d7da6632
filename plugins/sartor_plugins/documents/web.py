"""HTML pages, without what only navigates, decorates or runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sartor_plugins.documents.outline import Outline, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sartor.retrieval import Document
    from selectolax.lexbor import LexborNode

__all__ = ["read_html"]

_DROPPED = (
    "script, style, noscript, template, iframe, object, svg, canvas, nav, footer, aside, form, button, select, dialog, "
    "[hidden], [aria-hidden=true]"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_NAMES = (
    "address article blockquote body br center dd details div dl dt fieldset figcaption figure header hr li main ol p "
    "pre section summary table ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())


def read_html(path: Path) -> Document:
    """An HTML page; its title is the first `h1`, else the `title` element, else the file's name."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(path.read_bytes())
    title = tree.css_first("head > title")
    outline = Outline()
    for node in tree.css(_DROPPED):
        node.decompose()
    if tree.body is not None:
        _Walk(outline).run(tree.body)
    return outline.document((one_line(title.text()) if title else "") or path.stem)


class _Walk:
    """Goes through the elements of a page, without recursion, and writes an outline."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._text: list[str] = []
        self._lists: list[int] = []
        self._marker = ""

    def run(self, body: LexborNode) -> None:
        stack: list[tuple[LexborNode, Iterator[LexborNode]]] = [(body, body.iter(include_text=True))]
        while stack:
            node, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                self._leave(node.tag or "")
            elif child.tag == "-text":
                self._text.append(child.text_content or "")
            elif child.tag == "table" and not child.css_first("table table"):
                self._flush()
                self._table(child)
            elif self._enter(child):
                stack.append((child, child.iter(include_text=True)))

    def _enter(self, node: LexborNode) -> bool:
        """Begin an element; whether its children are to be walked through."""
        tag = node.tag or ""
        if tag in _HEADINGS:
            self._flush()
            self._outline.heading(_HEADINGS[tag], node.text())
            return False
        if tag in _BLOCKS:
            self._flush()
        if tag in ("ul", "ol"):
            self._lists.append(0)
        elif tag == "li" and self._lists:
            self._lists[-1] += 1
            self._marker = f"{self._lists[-1]}. " if node.parent and node.parent.tag == "ol" else "- "
        elif tag in ("td", "th"):
            self._text.append(" ")
        return True

    def _leave(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._flush()
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()

    def _flush(self) -> None:
        text = one_line("".join(self._text))
        self._text = []
        if text and self._lists:
            self._outline.line(self._marker + text, indent=len(self._lists) - 1)
            self._marker = ""
        elif text:
            self._outline.paragraph(text)

    def _table(self, table: LexborNode) -> None:
        caption = table.css_first("caption")
        if caption:
            self._outline.paragraph(caption.text())
        nodes = [row.css("th, td") for row in table.css("tr")]
        rows = [[cell.text(separator=" ") for cell in row] for row in nodes if row]
        names = [row for row in nodes if row][:1]
        header = bool(names) and len(rows) > 1 and all(cell.tag == "th" for cell in names[0])
        self._outline.table(rows, header=header)
