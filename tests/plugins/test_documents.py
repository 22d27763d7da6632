"""Every reader: headings, lists and tables are kept, what is not text is dropped, and bad files are named."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from sartor.errors import KnowledgeError
from sartor.retrieval import Document, Reader, Section
from sartor.text import sentences
from sartor_plugins.documents import DocumentsPlugin, DocumentsSettings

docx = pytest.importorskip("docx")
pypdf = pytest.importorskip("pypdf")
pytest.importorskip("selectolax")


@pytest.fixture
def readers() -> Mapping[str, Reader]:
    return DocumentsPlugin(DocumentsSettings(), Path()).sartor_readers()


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_suffixes(readers: Mapping[str, Reader]) -> None:
    assert set(readers) == set([".md", ".markdown", ".html", ".htm", ".pdf", ".docx", ".csv", ".tsv", ".txt"])


MARKDOWN = """---
title: "Delivery guide"
---
# Delivery

We deliver
to *all* [countries](https://x.y) of the [EU][1].

## Abroad

- By **ship**: 3 days
  1. small `boxes`
- By air

| Zone | Price | Days |
|------|-------|------|
| A    | 3.50  | 2    |
| B    |       | 4    |

### Islands
![A boat](boat.png) goes twice.

<div>Raw <b>text</b></div>

```
code here
```
## Home
Within a day.

[1]: https://eu
"""


def test_markdown(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    assert readers[".md"](written(tmp_path, "a.md", MARKDOWN)) == Document(
        "Delivery guide",
        (
            Section("Delivery", "We deliver to all countries of the EU."),
            Section(
                "Delivery › Abroad",
                "- By ship: 3 days\n  1. small boxes\n- By air\n\nA — Price: 3.50, Days: 2\nB — Days: 4",
            ),
            Section("Delivery › Abroad › Islands", "A boat goes twice.\n\nRaw text\n\ncode here"),
            Section("Delivery › Home", "Within a day."),
        ),
    )


def test_the_first_heading_is_the_title(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    document = readers[".md"](written(tmp_path, "a.md", "# Returns\n\nYes.\n\n## When\n\nSoon.\n"))
    assert document == Document("Returns", (Section("", "Yes."), Section("When", "Soon.")))
    assert readers[".md"](written(tmp_path, "plain.md", "Only text.")).title == "plain"


HTML = """<!doctype html><html><head><title> Shop </title><style>p {color: red}</style></head><body>
<nav>Home</nav><script>alert(1)</script><h1>Shop hours</h1>
<p>We are<br>open <b>every</b> day.</p>
<div>Loose text <span>goes</span> on.
<ul><li>Monday<ol><li>first</li><li>second</li></ol></li><li>Tuesday</li></ul></div>
<h2>Prices</h2><table><caption>In euros</caption><tr><th>Item</th><th>Price</th></tr>
<tr><td>Cut</td><td>20</td></tr></table>
<table><tr><td>Monday</td><td>9 to 5</td></tr></table>
<p hidden>secret</p><p>&eacute;t&eacute; &amp; hiver</p><footer>Imprint</footer></body></html>"""


def test_html(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    assert readers[".html"](written(tmp_path, "a.html", HTML)) == Document(
        "Shop hours",
        (
            Section(
                "",
                "We are\n\nopen every day.\n\nLoose text goes on.\n\n- Monday\n  1. first\n  2. second\n- Tuesday",
            ),
            Section("Prices", "In euros\n\nCut — Price: 20\n\nMonday: 9 to 5\n\nété & hiver"),
        ),
    )


def test_html_of_great_depth(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    document = readers[".htm"](written(tmp_path, "deep.htm", "<div>" * 20_000 + "down here" + "</div>" * 20_000))
    assert document.sections == (Section("", "down here"),)


def pdf(pages: list[str]) -> bytes:
    """A PDF by hand: a page for each text, a line for each of its lines."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        lines = " ".join(f"({line}) Tj 0 -14 Td" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 72 720 Td {lines} ET".encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        font = b"<< /Font << /F1 3 0 R >> >>"
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources %s >>"
            % (len(objects), font)
        )
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(out),
    )


WRAPPED = (
    "The parcel is brought to your door within three work-\n"
    "ing days, if it was ordered before noon on the day.\nThank you."
)


def test_pdf_pages_are_anchors_and_lines_are_unwrapped(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    path = written(tmp_path, "prices.pdf", pdf([WRAPPED, "", "Second page."]))
    document = readers[".pdf"](path)
    assert document.title == "prices"
    assert [section.anchor for section in document.sections] == ["page=1", "page=3"]
    assert sentences(document.sections[0].text) == [
        "The parcel is brought to your door within three working days, if it was ordered before noon on the day.",
        "Thank you.",
    ]


def test_pdf_bookmarks_and_title(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    writer = pypdf.PdfWriter(clone_from=written(tmp_path, "plain.pdf", pdf(["One page.", "Two page.", "Three page."])))
    chapter = writer.add_outline_item(title="Chapter", page_number=0)
    writer.add_outline_item(title="Part", page_number=1, parent=chapter)
    writer.add_metadata({"/Title": "The handbook"})
    path = tmp_path / "book.pdf"
    writer.write(path)
    document = readers[".pdf"](path)
    assert document.title == "The handbook"
    assert [section.heading for section in document.sections] == ["Chapter", "Chapter › Part", "Chapter › Part"]


def test_pdf_without_text_encrypted_or_damaged(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    with pytest.raises(KnowledgeError, match="pictures but no text"):
        readers[".pdf"](written(tmp_path, "scan.pdf", pdf([""])))
    writer = pypdf.PdfWriter(clone_from=written(tmp_path, "plain.pdf", pdf(["Text here."])))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(KnowledgeError, match="password"):
        readers[".pdf"](tmp_path / "locked.pdf")
    with pytest.raises(KnowledgeError, match="no PDF that can be read"):
        readers[".pdf"](written(tmp_path, "junk.pdf", b"no pdf at all"))


def test_docx(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    made = docx.Document()
    made.add_heading("Staff handbook", 0)
    made.add_heading("Holidays", 1)
    made.add_paragraph("You have 30 days.")
    made.add_paragraph("five at once", style="List Bullet")
    made.add_paragraph("ask first", style="List Number")
    made.add_heading("Sickness", 2)
    table = made.add_table(rows=2, cols=3)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells], ["Days", "Pay", "Form", "1", "full", "none"], strict=True
    ):
        cell.text = text
    path = tmp_path / "a.docx"
    made.save(str(path))
    assert readers[".docx"](path) == Document(
        "Staff handbook",
        (
            Section("Holidays", "You have 30 days.\n\n- five at once\n- ask first"),
            Section("Holidays › Sickness", "1 — Pay: full, Form: none"),
        ),
    )


def test_docx_that_is_none_or_a_bomb(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    with pytest.raises(KnowledgeError, match="no DOCX file"):
        readers[".docx"](written(tmp_path, "a.docx", b"not a zip file"))
    with zipfile.ZipFile(tmp_path / "b.docx", "w") as archive:
        archive.writestr("other.xml", "<a/>")
    with pytest.raises(KnowledgeError, match="no DOCX file"):
        readers[".docx"](tmp_path / "b.docx")
    with zipfile.ZipFile(tmp_path / "c.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            with archive.open(f"word/{number}.xml", "w") as entry:
                for _ in range(70):
                    entry.write(bytes(1_000_000))
    with pytest.raises(KnowledgeError, match="unpacks to 210 MB"):
        readers[".docx"](tmp_path / "c.docx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'item,price,note\nBlue,"3,50",New\n\n"Red ""one""",4,\n'),
        ("b.csv", 'item;price;note\r\nBlue;3,50;New\r\n\r\n"Red ""one""";4;\r\n'),
        ("c.tsv", 'item\tprice\tnote\nBlue\t3,50\tNew\n\n"Red ""one"""\t4\t\n'),
    ],
)
def test_tables(tmp_path: Path, readers: Mapping[str, Reader], name: str, text: str) -> None:
    document = readers[Path(name).suffix](written(tmp_path, name, text))
    assert document.sections == (Section("", 'Blue — price: 3,50, note: New\nRed "one" — price: 4'),)


def test_text_and_its_encodings(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    for data in ("Élan\r\nvital.".encode(), "Élan\nvital.".encode("cp1252"), "\ufeffÉlan\nvital.".encode("utf-16")):
        assert readers[".txt"](written(tmp_path, "a.txt", data)).sections == (Section("", "Élan\nvital."),)
    with pytest.raises(KnowledgeError, match="binary"):
        readers[".txt"](written(tmp_path, "b.txt", b"\x7fELF\0\0"))


def test_wrapped_text_is_unwrapped_and_lists_are_not(tmp_path: Path, readers: Mapping[str, Reader]) -> None:
    text = (
        "This is a paragraph of text that was wrapped by hand\nat sixty characters or so, as people did.\n\n"
        "List:\n- one\n- two\n"
    )
    (section,) = readers[".txt"](written(tmp_path, "a.txt", text)).sections
    assert section.text == (
        "This is a paragraph of text that was wrapped by hand at sixty characters or so, as people did.\n\n"
        "List:\n- one\n- two"
    )


def test_too_large(tmp_path: Path) -> None:
    readers = DocumentsPlugin(DocumentsSettings(max_megabytes=0.001), Path()).sartor_readers()
    with pytest.raises(KnowledgeError, match=r"at most 0\.001 MB"):
        readers[".txt"](written(tmp_path, "a.txt", "x" * 2000))
