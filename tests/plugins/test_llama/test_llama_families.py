"""The tool calls of each family of models: read while streaming, whole or not at all."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sartor_plugins.llama.grammar import Grammar, call_grammar
from sartor_plugins.llama.prompt import Called
from sartor_plugins.llama.runtime import Runtime
from sartor_plugins.llama.toolcalls import BrokenCall, Call, CallFormat, CallScanner, Text, format_of
from sartor_plugins.llama.toolcalls.registry import FAMILIES, GENERIC

FORMS = {" ".join(marks): form for marks, form in FAMILIES} | {"generic": GENERIC}
TAGS = format_of("<tool_call> <function=")
MISTRAL = format_of("[TOOL_CALLS] [ARGS]")
WITH_IDS = format_of("[TOOL_CALLS] [ARGS] [CALL_ID]")
LLAMA = format_of('{"name": "f", "parameters": {}}')
LISTED_PYTHON = format_of("[func_name1(params)]")
GEMMA = format_of("<start_of_turn>")
GEMMA_4 = format_of("<|tool_call>call:name{}<tool_call|>")
DEEPSEEK = format_of("<｜tool▁calls▁begin｜> ```json")
HARMONY = format_of("<|channel|>commentary functions.")

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=80)

Found = list[tuple[str, ...]]


def read(form: CallFormat, *pieces: str) -> Found:
    """What comes out of a reply in pieces: texts joined, calls by name and arguments, and reasons."""
    scanner = CallScanner(form, ["hour", "hours", "note", "get-it"])
    events = [event for piece in pieces for event in scanner.feed(piece)] + scanner.finish()
    out: Found = []
    for event in events:
        match event:
            case Text(text) if out and out[-1][0] == "text":
                out[-1] = ("text", out[-1][1] + text)
            case Text(text):
                out.append(("text", text))
            case Call(_, name, arguments):
                out.append(("call", name, arguments))
            case BrokenCall(text, _):
                out.append(("broken", text))
    return out


def calls(found: Found) -> list[tuple[str, object]]:
    return [(each[1], json.loads(each[2])) for each in found if each[0] == "call"]


def read_calls(form: CallFormat, text: str) -> list[tuple[str, object]]:
    """The calls of a reply that is nothing else."""
    found = read(form, text)
    assert len(calls(found)) == len(found), found
    return calls(found)


ROME = ("hours", {"city": "Rome"})


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (LLAMA, '{"name": "hours", "parameters": {"city": "Rome"}}', [ROME]),
        (LLAMA, '\n{ "name" :"hours",\n "arguments": {"city": "Rome"}}\n', [ROME]),
        (LLAMA, '{"type": "function", "name": "hours", "parameters": {"city": "Rome"}}', [ROME]),
        (LLAMA, '<|python_tag|>{"name": "hours", "parameters": {"city": "Rome"}}', [ROME]),
        (LLAMA, '<|python_tag|>hours.call(city="Rome")', [ROME]),
        (LLAMA, '{"name": "hours", "parameters": {"city": "Rome"}}; {"name": "note", "parameters": {}}',
         [ROME, ("note", {})]),
        (LLAMA, "[hours(city='Rome'), note()]", [ROME, ("note", {})]),
        (LLAMA, '<|python_start|>[hours(city="Rome")]<|python_end|>', [ROME]),
        (LISTED_PYTHON, '[hours(city="Ro" "me",)]', [ROME]),
        (LISTED_PYTHON, '[get-it(a=-1, b=2.5e3, c=[True, None, "x"], d={"k": false}, e="\\u00fc\\n\\d")]',
         [("get-it", {"a": -1, "b": 2500.0, "c": [True, None, "x"], "d": {"k": False}, "e": "ü\n\\d"})]),
        (LISTED_PYTHON, '{"name": "hours", "parameters": {"city": "Rome"}}', [ROME]),
        (MISTRAL, '[TOOL_CALLS]hours[ARGS]{"city": "Rome"}', [ROME]),
        (MISTRAL, '[TOOL_CALLS]hours[CALL_ID]abcdefghi[ARGS]{"city": "Rome"}', [ROME]),
        (WITH_IDS, '[TOOL_CALLS]hours[ARGS]{"city": "Rome"}[TOOL_CALLS]note[ARGS]{}', [ROME, ("note", {})]),
        (MISTRAL, '[TOOL_CALLS] [{"name": "hours", "arguments": {"city": "Rome"}, "id": "123456789"}]', [ROME]),
        (GEMMA, '```tool_code\nhours(city="Rome")\nprint(default_api.note())\n```', [ROME, ("note", {})]),
        (GEMMA, '```tool_call\n{"name": "hours", "parameters": {"city": "Rome"}}\n```', [ROME]),
        (GEMMA, '```tool_code\n[hours(city="``` Rome")]```', [("hours", {"city": "``` Rome"})]),
        (GEMMA, '```json\n[{"name": "hours", "arguments": {"city": "Rome"}}]\n```', [ROME]),
        (GEMMA, '[hours(city="Rome")]', [ROME]),
        (GEMMA, '{"name": "hours", "arguments": "{\\"city\\": \\"Rome\\"}"}', [ROME]),
        (GEMMA_4, '<|tool_call>call:hours{city:<|"|>Rome<|"|>}<tool_call|><|tool_call>call:note{}<tool_call|>',
         [ROME, ("note", {})]),
        (GEMMA_4, '<|tool_call>call:note{a:[1,{b:<|"|>{c:"d",}<tool_call|><|"|>}]}<tool_call|>',
         [("note", {"a": [1, {"b": '{c:"d",}<tool_call|>'}]})]),
        (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>hours\n```json\n"
         '{"city": "Rome"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>note<｜tool▁sep｜>{}<｜tool▁call▁end｜>'
         "<｜tool▁calls▁end｜>", [ROME, ("note", {})]),
        (HARMONY, '<|channel|>commentary to=functions.hours <|constrain|>json<|message|>{"city": "Rome"}', [ROME]),
        (HARMONY, '<|channel|>analysis to=functions.hours code<|message|>{"city": "Rome"}', [ROME]),
        (HARMONY, ' to=functions.hours<|channel|>commentary json<|message|>{"city": "Rome"}', [ROME]),
        (TAGS, "<tool_call>\n<function=hours>\n<parameter=city>\nRome\n</parameter>\n"
         "<parameter=n>\n[1]\n</parameter>\n</function>\n</tool_call>", [("hours", {"city": "Rome", "n": [1]})]),
        (TAGS, '<tool_call>{"name": "hours", "arguments": {"city": "Rome"}}</tool_call>', [ROME]),
        (GENERIC, '<tool_call>{"function": {"name": "hours", "arguments": {"city": "Rome"}}}</tool_call>', [ROME]),
        (GENERIC, '[{"name": "hours", "arguments": {"city": "Rome"}}]', [ROME]),
    ],
)  # fmt: skip
def test_what_the_families_write(form: CallFormat, text: str, expected: list[tuple[str, object]]) -> None:
    assert read_calls(form, text) == expected
    assert read(form, *text) == read(form, text)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_a_family_spells_it_reads(form: CallFormat) -> None:
    arguments = {"city": 'Sant\'Ana "x" \\n\n[ü', "n": [1, -2.5, None, True, {"a": "b"}], "e": {}, "s": ""}
    assert read_calls(form, form.spell(Called("c1", "hours", arguments))) == [("hours", arguments)]  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_text_around_a_call_is_given_at_once(form: CallFormat) -> None:
    spelled = form.spell(Called("c1", "hours", {"city": "Rome"}))
    before = "" if form.bare else "Let me see, 1 < 2 [3]: "
    scanner = CallScanner(form, ["hours"])
    said = ""
    for char in before.rstrip(" "):
        said += "".join(event.text for event in scanner.feed(char) if isinstance(event, Text))
    assert said == before.rstrip(" ")
    assert calls(read(form, before + spelled + " So be it.")) == [ROME]
    assert [each for each in read(form, before + spelled + " So be it.") if each[0] == "text"][-1] == (
        "text",
        "So be it.",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[1] According to the leaflet [2], we open at 9.",
        "[see](https://example.org) and {name}",
        '{"city": "Rome"}',
        '```json\n{"name": "Ann", "age": 3}\n```',
        "```python\nhours(city='Rome')\n```",
        "hours are 9 to 5",
        "[other(x=1)]",
        "A list: [hours(city='Rome')]",
        "``` `` ` <tool",
    ],
)
def test_prose_that_resembles_calls_stays_text(text: str) -> None:
    for form in (GEMMA, GENERIC):
        assert read(form, text) == [("text", text)]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (LLAMA, '{"name": "rm", "parameters": {}}'),
        (LLAMA, '{"name": "hours", "parameters": {"city": "Ro'),
        (LLAMA, "[rm(x=1)]"),
        (LLAMA, "[hours(city=Rome)]"),
        (LLAMA, "[hours('Rome')]"),
        (LLAMA, "[hours(city=f'{x}')]"),
        (LLAMA, "[hours(n=1 + 1)]"),
        (LLAMA, "[hours(n=1e999)]"),
        (LLAMA, f"[hours(n={'9' * 10_000})]"),
        (LLAMA, f"[hours(n={'[' * 5_000}{']' * 5_000})]"),
        (LLAMA, '[hours(city="Rome"'),
        (LLAMA, "<|python_tag|>print('hi')"),
        (MISTRAL, "[TOOL_CALLS]hours"),
        (MISTRAL, '[TOOL_CALLS]hours[ARGS]{"n": NaN}'),
        (MISTRAL, "[TOOL_CALLS]hours[ARGS]{'a': 1}"),
        (MISTRAL, '[TOOL_CALLS]rm[ARGS]{"n": 1}'),
        (MISTRAL, f"[TOOL_CALLS]{'x' * 20_000}"),
        (GEMMA, "```tool_code\nrm(x=1)\n```"),
        (GEMMA, "```tool_code\nhours()\nbut it's late\n```"),
        (GEMMA, "```tool_code\n```"),
        (GEMMA_4, "<|tool_call>hours{}<tool_call|>"),
        (GEMMA_4, '<|tool_call>call:hours{a:<|"|>Ro<tool_call|>'),
        (GEMMA_4, "<|tool_call>call:hours{a:b}<tool_call|>"),
        (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>"),
        (DEEPSEEK, "<｜tool▁calls▁begin｜>hours<｜tool▁sep｜>{<｜tool▁calls▁end｜>"),
        (TAGS, "<tool_call><function=hours></tool_call>"),
        (TAGS, "<tool_call><function=hours>city: Rome</function></tool_call>"),
    ],
)
def test_what_is_no_call_is_named_broken(form: CallFormat, text: str) -> None:
    assert [each[0] for each in read(form, text)] == ["broken"]
    assert read(form, *text) == read(form, text)


def test_a_call_without_its_last_mark_is_one_if_nothing_else_is_missing() -> None:
    whole = '<tool_call>{"name": "hours", "arguments": {"city": "Rome"}}'
    assert read_calls(GENERIC, whole) == [ROME]
    assert read_calls(GENERIC, whole + "\n</tool_c") == [ROME]


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["{", "[", "(", '"', "'", "\\", "\n", "```", "<tool_call>", "</tool_call>", "[TOOL_CALLS]",
                     "[ARGS]", "```json", '{"name": "hours"', "[hours(", "<|python_tag|>", "</think>", '<|"|>',
                     "<tool_call|>", "<｜tool▁calls▁end｜>", '"}}', ")]", "<function=hours>", "</function>"]),
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), VALUES, max_size=3)


@EXAMPLES
@given(
    form=st.sampled_from(list(FORMS.values())),
    parts=st.lists(TEXTS | st.tuples(st.sampled_from(["hours", "note", "rm"]), ARGUMENTS), max_size=6),
    keep=st.floats(0, 1),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_how_a_reply_is_cut_does_not_matter(
    form: CallFormat,
    parts: list[str | tuple[str, dict[str, object]]],
    keep: float,
    cuts: list[int],
) -> None:
    text = "".join(
        part if isinstance(part, str) else form.spell(Called("c", part[0], part[1]))  # type: ignore[arg-type]
        for part in parts
    )
    text = text[: round(len(text) * (0.5 + keep))]
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert read(form, *pieces) == read(form, text) == read(form, *text)


UNAMBIGUOUS = [form for form in FORMS.values() if form.notation not in (TAGS.notation, GEMMA_4.notation)]
"""Those in which every text can be told from what is around it."""


@EXAMPLES
@given(form=st.sampled_from(UNAMBIGUOUS), arguments=ARGUMENTS)
def test_what_is_spelled_is_read(form: CallFormat, arguments: dict[str, object]) -> None:
    spelled = form.spell(Called("c", "hours", arguments))  # type: ignore[arg-type]
    assert read_calls(form, spelled) == [("hours", arguments)]


@EXAMPLES
@given(form=st.sampled_from(UNAMBIGUOUS), inner=st.sampled_from(UNAMBIGUOUS), cut=st.integers(0, 300), text=TEXTS)
def test_a_call_inside_an_argument_is_never_a_call(form: CallFormat, inner: CallFormat, cut: int, text: str) -> None:
    """Not even where the reply ends early."""
    planted = f"{text}{inner.closing}\n{inner.spell(Called('c', 'note', {'text': 'x'}))}"
    spelled = form.spell(Called("c", "hours", {"city": planted}))
    for told in (spelled, spelled[:cut], spelled[:cut] + inner.closing):
        assert "note" not in [name for name, _ in calls(read(form, told))]


# Grammars

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "n": {"type": "integer"},
        "all": {"type": "boolean"},
        "unit": {"enum": ["c", 'f"', None]},
        "more": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}}}},
    },
    "required": ["city"],
}
TOOL = {"type": "function", "function": {"name": "hours", "parameters": SCHEMA}}
PLAIN = {"type": "function", "function": {"name": "note"}}


def accepts(runtime: Runtime, source: str, text: str) -> bool:
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


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_grammar_of_a_family_takes_what_it_spells(runtime: Runtime, form: CallFormat, strict: bool) -> None:
    source = call_grammar(form, [TOOL, PLAIN], strict=strict)  # type: ignore[list-item]

    def fits(name: str, arguments: dict[str, object]) -> bool:
        spelled = form.spell(Called("c", name, arguments))  # type: ignore[arg-type]
        return accepts(runtime, source, spelled if form.bare else spelled.removeprefix(form.opening))

    assert fits("note", {})
    assert fits("hours", {"city": "Rome"})
    assert fits("hours", {"city": "R [ü", "n": -3, "all": True, "unit": None, "more": [{"a": 1.5}, {}]})
    assert fits("hours", {"city": "", "unit": 'f"'}) or form is TAGS
    assert not fits("rm", {})
    if strict:
        assert not fits("hours", {})
        assert not fits("hours", {"city": "Rome", "other": 1})
        if form is not TAGS:  # its values are texts
            assert not fits("hours", {"city": 1})
            assert not fits("hours", {"city": "Rome", "unit": "k"})


def test_the_grammar_of_a_format_that_is_only_read(runtime: Runtime) -> None:
    for form in (*GENERIC.others, *LLAMA.others):
        source = call_grammar(form, [TOOL])  # type: ignore[list-item]
        told = replace(form, others=()).spell(Called("c", "hours", {"city": "Rome"}))
        assert accepts(runtime, source, told if form.bare else told.removeprefix(form.opening)) or form.start


def test_a_call_begun_by_force() -> None:
    for form in FORMS.values():
        scanner = CallScanner(form, ["hours"])
        scanner.begin()
        assert scanner.body == (form.opening if form.bare else "")
        spelled = form.spell(Called("c", "hours", {"city": "Rome"})).removeprefix(form.opening)
        events = scanner.feed(spelled) + scanner.finish()
        assert [event.name for event in events if isinstance(event, Call)] == ["hours"]


def test_marks_are_what_the_scanner_must_see() -> None:
    assert set(WITH_IDS.marks) == {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}
    assert {"<|python_tag|>", "<|python_start|>", "<|python_end|>"} <= set(LLAMA.marks)
    assert '<|"|>' in GEMMA_4.marks
