"""Sentences and chunks: verbatim, in English and French, never cut in the middle."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.retrieval import Document, Section
from sartor.text import chunks, sentences

ENGLISH = (
    (
        "Dr. Smith paid No. 5 at 3.50 p.m. Then he left. Visit https://a.b/c.d?x=1. See p. 3, e.g. the table.",
        [
            "Dr. Smith paid No. 5 at 3.50 p.m.",
            "Then he left.",
            "Visit https://a.b/c.d?x=1.",
            "See p. 3, e.g. the table.",
        ],
    ),
    (
        'J. R. R. Tolkien wrote it… He said "Stop." (See above.) The U.S. is big. Mr. and Mrs. Jones agree!',
        [
            "J. R. R. Tolkien wrote it…",
            'He said "Stop."',
            "(See above.)",
            "The U.S. is big.",
            "Mr. and Mrs. Jones agree!",
        ],
    ),
    ("Made in the U.S. The law. U.S. Government pays.", ["Made in the U.S.", "The law.", "U.S. Government pays."]),
    (
        "Wait... really? Version 2.0.1 is out?! Yes, it is.",
        ["Wait... really?", "Version 2.0.1 is out?!", "Yes, it is."],
    ),
    ("Can I return it? No. You cannot.", ["Can I return it?", "No. You cannot."]),
    ("Is it free? Yes. It is so. Ok.", ["Is it free?", "Yes. It is so. Ok."]),
    ("Mail to a.b@example.com. On Jan. 5 we close.", ["Mail to a.b@example.com.", "On Jan. 5 we close."]),
)
FRENCH = (
    (
        "M. Dupont et Mme. Durand sont là ! Est-ce vrai ? Oui ; p. ex. le prix est de 3,50 €. Cf. n° 3.",
        ["M. Dupont et Mme. Durand sont là !", "Est-ce vrai ?", "Oui ; p. ex. le prix est de 3,50 €.", "Cf. n° 3."],
    ),
    (
        "Il a dit : « Venez. » Puis il partit. « Qui ? » demanda-t-il. L'art. 5 s'applique, etc. Fin du texte.",
        [
            "Il a dit : « Venez. »",
            "Puis il partit.",
            "« Qui ? » demanda-t-il.",
            "L'art. 5 s'applique, etc.",
            "Fin du texte.",
        ],
    ),
)


@pytest.mark.parametrize(("text", "expected"), [*ENGLISH, *FRENCH])
def test_prose_is_cut_where_sentences_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_items_and_rows_are_units_without_their_bullets() -> None:
    items = "We ship:\n- Boxes. Up to 5 kg.\n  * Letters\n1. By post\n2) By hand\n"
    text = items + "Blue — price: 3.50, note: New. Nice.\n--\n"
    assert sentences(text) == [
        "We ship:",
        "Boxes. Up to 5 kg.",
        "Letters",
        "By post",
        "By hand",
        "Blue — price: 3.50, note: New. Nice.",
    ]


@pytest.mark.parametrize("text", ["", "\n \n", "…", "- ", "?!"])
def test_nothing_to_quote(text: str) -> None:
    assert sentences(text) == []


@given(st.text(alphabet="abcÀ É.!?…«»\"'()- \n\t:—•1,", max_size=200))
def test_every_unit_is_verbatim_and_in_order(text: str) -> None:
    at = 0
    for unit in sentences(text):
        found = text.find(unit, at)
        assert found >= at
        assert unit == unit.strip()
        assert sum(map(str.isalnum, unit)) >= 3
        at = found + len(unit)


@given(st.lists(st.text(alphabet="ab. !?\n-", max_size=300), max_size=4), st.integers(3, 30))
def test_chunks_hold_every_word_once_and_no_more_than_asked(texts: list[str], words: int) -> None:
    document = Document("Title", tuple(Section("Same", text) for text in texts))
    pieces = chunks(document, words)
    assert all(len(piece.text.split()) <= words + 5 for piece in pieces)  # bullets are not counted as words
    said = "".join("".join(sentences(text)) for text in texts)
    kept = "".join(piece.text for piece in pieces)  # not its sentences: a piece may be too short to have one
    assert said.count("a") <= kept.count("a") <= "".join(texts).count("a")


def test_no_sentence_is_cut_and_pieces_are_of_similar_size() -> None:
    text = " ".join(f"Sentence number {number} has exactly seven words." for number in range(40))
    pieces = chunks(Document("Guide", (Section("Start", text),)), 120)
    assert [piece.title for piece in pieces] == ["Guide › Start"] * 3
    assert all(70 <= len(piece.text.split()) <= 120 for piece in pieces)
    assert " ".join(piece.text for piece in pieces) == text
    assert all(piece.text.endswith("words.") for piece in pieces)


def test_a_sentence_longer_than_a_chunk_is_cut_between_words() -> None:
    text = "word " * 50 + "end."
    pieces = chunks(Document("T", (Section("", text),)), 20)
    assert [len(piece.text.split()) for piece in pieces] == [20, 20, 11]


def test_small_neighbours_of_one_heading_are_merged_and_keep_the_first_anchor() -> None:
    rows = tuple(Section("", f"Item {number} — price: {number}", f"row={number}") for number in range(2, 32))
    pieces = chunks(Document("Prices", rows), 50)
    assert [piece.anchor for piece in pieces] == ["row=2", "row=12", "row=22"]
    assert pieces[0].text.splitlines()[0] == "Item 2 — price: 2"
    other = chunks(Document("FAQ", (Section("One", "Short text."), Section("Two", "Short text."))), 50)
    assert [piece.title for piece in other] == ["FAQ › One", "FAQ › Two"]


@pytest.mark.parametrize("part", [". ", ".", "! ", "a. ", "?!", "A. b ", ")", "« ", ". »", "x — y: ", "- "])
def test_time_grows_with_length_only(part: str) -> None:
    text = part * (100_000 // len(part))
    started = time.process_time()
    chunks(Document("T", (Section("", text),)))
    assert time.process_time() - started < 10


def test_the_title_is_not_said_twice() -> None:
    document = Document("Guide", (Section("Guide", "One two three."), Section("Guide › A", "Four five six.")))
    assert [piece.title for piece in chunks(document)] == ["Guide", "Guide › A"]
