"""Finding tool calls in a stream, and the grammars that tool calls are forced into."""

from __future__ import annotations

import json
from enum import Enum

import pytest
from pydantic import BaseModel
from sartor.values import Choices
from sartor_plugins.llama.grammar import Grammar, call_grammar
from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.runtime import Runtime
from sartor_plugins.llama.toolcalls import BrokenCall, Call, CallFormat, CallScanner, Text, format_of, held_back
from sartor_plugins.openai_model.choices import grammar as choice_grammar

TAGGED = format_of("…<tool_call>…")
LISTED = format_of("…[TOOL_CALLS]…")
BARE = format_of('… {"name": function name, "parameters": dictionary} …')
CALLED = Called("c", "hours", {"city": "Rome"})


def scanned(form: CallFormat, text: str, step: int) -> tuple[str, list[tuple[str, dict[str, object]]], int]:
    """Text, calls and the number of broken ones that come out of `text` given in pieces of `step` characters."""
    scanner = CallScanner(form, ["hours", "note"])
    events = [event for at in range(0, len(text), step) for event in scanner.feed(text[at : at + step])]
    events += scanner.finish()
    said = "".join(event.text for event in events if isinstance(event, Text))
    calls = [(event.name, json.loads(event.arguments)) for event in events if isinstance(event, Call)]
    return said, calls, sum(isinstance(event, BrokenCall) for event in events)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_calls_are_found_however_the_text_is_cut(step: int) -> None:
    call = TAGGED.spell(CALLED)
    found = [("hours", {"city": "Rome"})]
    assert scanned(TAGGED, call, step) == ("", found, 0)
    assert scanned(TAGGED, f"Let me <see>.{call}\n{call}", step) == ("Let me <see>.", found * 2, 0)
    assert scanned(TAGGED, f"a{call}b", step) == ("ab", found, 0)
    assert scanned(TAGGED, "1 < 2 and <tool_cal", step) == ("1 < 2 and <tool_cal", [], 0)
    assert scanned(LISTED, f"Well{LISTED.spell(CALLED)}", step) == ("Well", found, 0)
    assert scanned(LISTED, '[TOOL_CALLS] [{"name": "hours", "arguments": {}}, {"name": "note"}]', step) == (
        "",
        [("hours", {}), ("note", {})],
        0,
    )
    assert scanned(BARE, f"\n {BARE.spell(CALLED)}", step) == ("", found, 0)
    assert scanned(BARE, 'See: {"name": 1}', step) == ('See: {"name": 1}', [], 0)
    assert scanned(BARE, '{"nam', step) == ('{"nam', [], 0)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "hours", "arguments": {"a": 1',
        "<tool_call>nonsense</tool_call>",
        "<tool_call>[1]</tool_call>",
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "hours", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": 7}</tool_call>',
        f"<tool_call>{'[' * 100_000}</tool_call>",
    ],
)
def test_a_broken_call_is_an_event(text: str) -> None:
    assert scanned(TAGGED, text, 10) == ("", [], 1)


def test_text_is_held_back_only_while_it_may_be_a_mark() -> None:
    assert held_back("abc <tool", ["<tool_call>"]) == 5
    assert held_back("abc <toolx", ["<tool_call>"]) == 0
    assert held_back("abc", []) == 0


# Grammars


def accepts(runtime: Runtime, source: str, text: str) -> bool:
    """Whether the grammar takes the whole text, and may end there."""
    vocabulary = runtime.voice.vocabulary
    tried = Grammar(vocabulary, source)
    try:
        for token in vocabulary.text(text):
            if not tried.allows(token):
                return False
            tried.accept(token)
        return tried.allows(vocabulary.ends[0])
    finally:
        tried.close()


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Line(BaseModel):
    title: str
    count: int = 1


class Order(BaseModel):
    """Orders things."""

    lines: list[Line]
    size: Size
    note: str | None = None


ORDER = {"type": "function", "function": {"name": "order", "description": "", "parameters": Order.model_json_schema()}}
HOURS = {"type": "function", "function": {"name": "hours", "parameters": {"type": "object", "properties": {}}}}
BARE_TOOL = {"type": "function", "function": {"name": "bare"}}


@pytest.mark.parametrize("form", [TAGGED, LISTED, BARE])
def test_a_call_is_forced_to_fit_one_of_the_tools(runtime: Runtime, form: CallFormat) -> None:
    source = call_grammar(form, [ORDER, HOURS, BARE_TOOL])  # type: ignore[list-item]

    def fits(name: str, arguments: dict[str, object]) -> bool:
        spelled = form.spell(Called("c", name, arguments))  # type: ignore[arg-type]
        return accepts(runtime, source, spelled if form.bare else spelled.removeprefix(form.opening))

    assert fits("hours", {})
    assert fits("bare", {})
    assert fits("order", {"lines": [], "size": "s"})
    assert fits("order", {"lines": [{"title": 'A "b" \n', "count": 2}, {"title": "ü"}], "size": "l", "note": None})
    assert not fits("hours", {"city": "Rome"})
    assert not fits("delete", {})
    assert not fits("order", {"lines": [], "size": "xl"})
    assert not fits("order", {"size": "s"})
    assert not fits("order", {"lines": ["a"], "size": "s"})


def parameters(schema: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": "odd", "parameters": schema}}


def fits(runtime: Runtime, schema: object, value: object) -> bool:
    """Whether a call with the arguments `value` is possible."""
    source = call_grammar(TAGGED, [parameters(schema)])  # type: ignore[list-item]
    text = json.dumps({"name": "odd", "arguments": value}, ensure_ascii=False)
    return accepts(runtime, source, f"{text}</tool_call>")


def test_what_a_grammar_keeps_of_a_schema(runtime: Runtime) -> None:
    def one(schema: object) -> dict[str, object]:
        return {"type": "object", "properties": {"a": schema}, "required": ["a"]}

    for schema, good, bad in [
        ({"type": "integer"}, [0, -17], [1.5, "1", None]),
        ({"type": "number"}, [0, -1.5, 1e-7], ["1"]),
        ({"type": ["string", "null"]}, ["x", None], [1]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}, [[True], [True, False]], [[]]),
        ({"type": "array", "maxItems": 0}, [[]], [[1]]),
        ({"type": "array"}, [[], [1, "a", [{}]]], [{}]),
        ({"enum": ['a"\\b', 1, None]}, ['a"\\b', 1, None], ["a", 2]),
        ({"const": {"x": [1]}}, [{"x": [1]}], [{}]),
        ({"type": "object"}, [{}, {"x": {"y": []}}], [1]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, [{}, {"x": 1, "y": 2}], [{"x": "1"}]),
        ({}, [1, "a", None, [{}]], []),
        (True, [1], []),
        ({"type": "strange"}, [1], []),
        ({"allOf": [{"type": "integer"}]}, [1], ["a"]),
    ]:
        for value in good:
            assert fits(runtime, one(schema), {"a": value}), (schema, value)
        for value in bad:
            assert not fits(runtime, one(schema), {"a": value}), (schema, value)


def test_optional_properties(runtime: Runtime) -> None:
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in "abc"}}
    for names in ("", "a", "b", "c", "ab", "ac", "bc", "abc"):
        assert fits(runtime, schema, {name: 1 for name in names})
        needed = {name: 1 for name in "b" + names.replace("b", "")}
        assert fits(runtime, {**schema, "required": ["b"]}, needed)
    assert not fits(runtime, schema, {"d": 1})
    assert not fits(runtime, {**schema, "required": ["b"]}, {"a": 1})


def test_recursive_schemas(runtime: Runtime) -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "value": {"type": "integer"}}}
    schema = {"$defs": {"tree": tree}, **tree}
    assert fits(runtime, schema, {"left": {"left": {"value": 1}}})
    assert not fits(runtime, schema, {"left": {"left": 1}})


@pytest.mark.parametrize("name", ['a"b', "a\\", 'x" | value\nroot ::= "y', "<|end|>", "\x00\n", "r1 ::= value", "ü €"])
def test_a_schema_cannot_write_rules(runtime: Runtime, name: str) -> None:
    schema = {"type": "object", "properties": {name: {"enum": [name]}}, "required": [name]}
    assert fits(runtime, schema, {name: name})
    assert not fits(runtime, schema, {})
    assert not fits(runtime, schema, {name: "y"})


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"properties": {"a": {"$ref": "https://elsewhere/schema"}}},
        {"properties": {"a": nested(5_000)}},
        {"properties": {"a": {"enum": ["x" * 300_000]}}},
    ],
)
def test_schemas_beyond_grammars_are_refused(schema: object) -> None:
    with pytest.raises(ValueError):
        call_grammar(TAGGED, [parameters(schema)])  # type: ignore[list-item]


async def test_a_schema_beyond_grammars_falls_back_to_any_object(make, random_model) -> None:  # type: ignore[no-untyped-def]
    """A reference to itself is refused by llama.cpp itself."""
    schema = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}
    model = make(random_model, max_tokens=400, temperature=0)
    said = await model.bind_tools([parameters(schema)], tool_choice="any").ainvoke("Hi")
    assert said.tool_calls or said.invalid_tool_calls


def test_a_grammar_that_is_none(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match="understand"):
        Grammar(runtime.voice.vocabulary, "root ::= nothing-here")


def test_llama_cpp_reads_the_grammar_of_choices_as_it_is_meant(runtime: Runtime) -> None:
    """The plugin `openai` sends it to llama-server, which is the same library."""
    texts = ("One. [1]", 'Say "two" \\ ü. [2]', "Three\n\x07. [3]", "I do not know.")
    for at_most in (1, 2, 3):
        source = choice_grammar(Choices(texts, quotes=3, at_most=at_most))
        for good in texts:
            assert accepts(runtime, source, good)
        assert accepts(runtime, source, f"{texts[0]} {texts[2]}") is (at_most > 1)
        assert accepts(runtime, source, " ".join(texts[:3])) is (at_most > 2)
        for bad in ("One.", f"{texts[0]} {texts[0]}", f"{texts[0]} {texts[3]}", f"{texts[3]} {texts[0]}"):
            assert not accepts(runtime, source, bad)
