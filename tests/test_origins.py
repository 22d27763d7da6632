"""In whose text the arguments of a tool call were found, and which of them may not drive a tool that acts."""

from __future__ import annotations

import pytest
from sartor.origins import argument_origins, untrusted_arguments
from sartor.values import Origin, Part

O = Origin  # noqa: E741


def origins(value, *seen: tuple[str, Origin]) -> set[Origin]:
    return set(argument_origins({"a": value}, [Part(text, origin) for text, origin in seen])["a"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("B-17", "Where is B-17?"),
        ("b-17", "Where is B-17?"),
        ("DE89370400440532013000", "my IBAN: DE89 3704 0044 0532 0130 00."),
        ("New York", "to new  york, please"),
        ("straße", "die STRASSE"),
        (7, "order 7"),
        (2.5, "2.5 kg"),
        ("a+b (c)", "is a+b (c) right?"),
        ("anna@x.example", "write to anna@x.example."),
    ],
)
def test_a_value_is_found_letter_case_and_spacing_aside(value, text):
    assert origins(value, (text, O.USER)) == {O.USER}
    assert origins(value, ("nothing of it", O.USER)) == set()


@pytest.mark.parametrize(
    ("value", "text"), [("12", "order 2012"), ("7", "item 17"), ("ann", "Hannah"), (1, "in 10 days")]
)
def test_a_part_of_a_word_is_not_what_the_user_said(value, text):
    assert origins(value, (text, O.USER)) == set()
    assert origins(value, (text, O.DOCUMENT)) == {O.DOCUMENT}, "but it may well be what a document smuggled in"
    found = argument_origins({"a": value}, [Part(text, O.USER), Part(f"pay to {value}", O.DOCUMENT)])
    assert untrusted_arguments({"a": value}, found) == ["a"]


def test_all_origins_are_told():
    seen = [(f"account X-1 {origin}", origin) for origin in Origin]
    assert origins("X-1", *seen) == set(Origin)


def test_a_list_has_an_origin_only_if_all_its_values_do():
    seen = ("A-1 and B-2", O.USER), ("A-1 or C-3", O.DOCUMENT)
    assert origins(["A-1", "B-2"], *seen) == {O.USER}
    assert origins(["A-1", "C-3"], *seen) == {O.DOCUMENT}
    assert origins(["B-2", "C-3"], *seen) == set()
    assert origins({"x": "A-1", "y": ["B-2"]}, *seen) == {O.USER}


@pytest.mark.parametrize("value", ["", "  ", None, True, [], {}, [None, ""]])
def test_what_says_nothing_has_no_origin(value):
    assert origins(value, ("true None anything", O.USER)) == set()


@pytest.mark.parametrize(
    ("where", "untrusted"),
    [
        ({O.DOCUMENT}, True),
        ({O.TOOL}, True),
        ({O.DOCUMENT, O.TOOL, O.MODEL}, True),
        ({O.DOCUMENT, O.USER}, False),
        ({O.TOOL, O.TENANT}, False),
        ({O.DOCUMENT, O.OPERATOR}, False),
        ({O.USER}, False),
        ({O.MODEL}, True),  # an earlier reply may have quoted a document
        ({O.MODEL, O.USER}, False),
        (set(), True),  # the model may have rewritten what it read
    ],
)
def test_what_only_data_says_may_not_drive_a_tool_that_acts(where, untrusted):
    arguments = {"good": "x", "a": "y", "gift": True, "note": None}
    found = untrusted_arguments(arguments, {"good": frozenset({O.USER}), "a": frozenset(where)})
    assert found == (["a"] if untrusted else [])


def test_only_operator_and_tenant_may_give_instructions():
    assert {origin for origin in Origin if origin.trusted} == {O.OPERATOR, O.TENANT}
