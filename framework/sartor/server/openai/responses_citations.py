"""Citations of a reply as annotations that OpenAI's clients know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel

from sartor.values import Citation, Reply

__all__ = ["FileCitation", "UrlCitation", "annotations_of"]


class FileCitation(BaseModel):
    """A statement comes from a document."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    """The document, relative to the bot's knowledge folder."""
    filename: str
    index: int
    """Where in the text its number stands."""
    number: int
    """What the text shows in brackets; an addition of ours, as are the rest."""
    title: str
    source: str
    """With the place in the document, such as ``prices.pdf#page=3``."""
    quote: str


class UrlCitation(BaseModel):
    """A statement comes from a page of the web."""

    type: Literal["url_citation"] = "url_citation"
    url: str
    title: str
    start_index: int
    end_index: int
    number: int
    """What the text shows in brackets; an addition of ours, as is the quote."""
    quote: str


def annotations_of(reply: Reply) -> list[FileCitation | UrlCitation]:
    """One for each place where the text shows the number of a citation, in the order of the text."""
    placed = [(start, end, one) for one in reply.citations for start, end in _places(reply.text, one.number)]
    return [_annotation(start, end, one) for start, end, one in sorted(placed, key=lambda place: place[:2])]


def _places(text: str, number: int) -> Iterator[tuple[int, int]]:
    found = False
    for match in re.finditer(rf"\[{number}\]", text):
        found = True
        yield match.span()
    if not found:
        yield len(text), len(text)


def _annotation(start: int, end: int, citation: Citation) -> FileCitation | UrlCitation:
    source, title, number, quote = citation.source, citation.title, citation.number, citation.quote
    if source.startswith(("https://", "http://")):
        return UrlCitation(url=source, title=title, start_index=start, end_index=end, number=number, quote=quote)
    document = source.partition("#")[0]
    filename = document.rpartition("/")[2]
    return FileCitation(
        file_id=document, filename=filename, index=start, number=number, title=title, source=source, quote=quote
    )
