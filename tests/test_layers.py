"""How layers lie over each other, and where each value is said to come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from sartor.errors import SpecError
from sartor.layers import Layer, Source, fill_values, merge
from sartor.values import Origin
from sartor.yamlfile import parse_yaml


def layer(name: str, text: str, origin: Origin = Origin.TENANT) -> Layer:
    file = parse_yaml(text, Path(name))
    return Layer(file, origin, file.data)


def merged(*texts: str):
    return merge([layer(f"{number}.yaml", text) for number, text in enumerate(texts, start=1)])


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [
        ("a: 1", "b: 2", {"a": 1, "b": 2}),
        ("a: 1", "a: 2", {"a": 2}),
        ("a: 1", "a: text", {"a": "text"}),
        ("a: {b: 1, c: 2}", "a: {c: 3, d: 4}", {"a": {"b": 1, "c": 3, "d": 4}}),
        ("a: [1, 2]", "a: [2, 3]", {"a": [1, 2, 2, 3]}),
        ("a: [{b: 1}]", "a: [{b: 2}]", {"a": [{"b": 1}, {"b": 2}]}),
        ("a: 1\nb: 2", "a: null", {"b": 2}),
        ("a: {b: 1, c: 2}", "a: {b: null}", {"a": {"c": 2}}),
        ("a: [1]", "a: null", {}),
        ("a: {b: 1}", "a: {}", {"a": {"b": 1}}),
        ("a: [1]", "a: []", {"a": [1]}),
        ("a: {}", "{}", {"a": {}}),
    ],
)
def test_the_rule(lower, upper, result):
    assert merged(lower, upper).data == result


def test_merging_leaves_the_layers_as_they_are():
    lower, upper = layer("1.yaml", "a: {b: [1]}"), layer("2.yaml", "a: {b: [2], c: {d: 1}}")
    one = merge([lower, upper])
    one.data["a"]["b"].append(3)
    one.data["a"]["c"]["d"] = 9
    assert lower.data == {"a": {"b": [1]}} and upper.data == {"a": {"b": [2], "c": {"d": 1}}}


def test_what_was_removed_may_be_given_anew_and_has_the_new_place():
    found = merged("a: {b: 1}", "a: null", "a: [x]")
    assert found.data == {"a": ["x"]} and found.place(("a",)) == "3.yaml:1" and found.place(("a", "b")) == "3.yaml:1"


def test_origins_and_places():
    found = merge(
        [
            layer(
                "template/bot.yaml", "title: A\ninstructions:\n  - one\nplugins:\n  topics: {x: 1}\n", Origin.OPERATOR
            ),
            layer("acme/bot.yaml", "instructions:\n  - two\n  - [a, {b: c}]\nplugins:\n  topics:\n    y: 2\n"),
        ]
    )
    assert found.sources["title",] == Source("template/bot.yaml:1", Origin.OPERATOR)
    assert found.sources["instructions", 0] == Source("template/bot.yaml:3", Origin.OPERATOR)
    assert found.sources["instructions", 1] == Source("acme/bot.yaml:2", Origin.TENANT)
    assert found.sources["instructions", 2, 1, "b"] == Source("acme/bot.yaml:3", Origin.TENANT)
    assert found.sources["plugins", "topics", "x"].origin is Origin.OPERATOR
    assert found.sources["plugins", "topics", "y"] == Source("acme/bot.yaml:6", Origin.TENANT)
    assert found.place(("plugins", "topics", "y", "deeper")) == "acme/bot.yaml:6"
    assert found.place(("nothing",)) is None
    assert dict(found.leaves())["instructions", 2, 1, "b"] == "c"


def test_a_part_of_a_file_has_the_files_lines():
    file = parse_yaml("name: x\nbots:\n  title: A\n  languages: [fr]\n", Path("tenant.yaml"))
    found = merge([Layer(file, Origin.TENANT, file.data["bots"], ("bots",))])
    assert found.place(("title",)) == "tenant.yaml:3" and found.place(("languages", 0)) == "tenant.yaml:4"


@pytest.mark.parametrize(
    ("lower", "upper", "message", "place"),
    [
        ("a: 1", "b:", "b is empty", "2.yaml:1"),
        ("a: {b: 1}", "a:\n  c: null", "a.c is empty", "2.yaml:2"),
        ("a: 1", "b: {c: null}", "b.c is empty", "2.yaml:1"),
        ("a: 1", "a: [1]", "a is a list here, but a single value in 1.yaml:1", "2.yaml:1"),
        ("a:\n  b: [1]", "a:\n  b: x", "a.b is a single value here, but a list in 1.yaml:2", "2.yaml:2"),
        ("a: {b: 1}", "a: [1]", "a is a list here, but a mapping in 1.yaml:1", "2.yaml:1"),
    ],
)
def test_faults_name_both_places(lower, upper, message, place):
    with pytest.raises(SpecError, match=message) as caught:
        merged(lower, upper)
    assert caught.value.where == place


VALUES = {"company": "Acme", "n": 3, "on": True, "tags": ["a"], "odd": "${company}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("${company}", "Acme"),
        ("${ company }", "Acme"),
        ("We are ${company}.", "We are Acme."),
        ("${n}", 3),
        ("${on}", True),
        ("${tags}", ["a"]),
        ("n is ${n}", "n is 3"),
        ("on is ${on}", "on is true"),
        ("$${company}", "${company}"),
        ("a $${company} b ${company}", "a ${company} b Acme"),
        ("${odd}!", "${company}!"),
        ("$company and ${ } and ${9}", "$company and ${ } and ${9}"),
        ("5 $", "5 $"),
    ],
)
def test_values_are_filled_in_once(text, filled):
    found = merge([layer("bot.yaml", "{}")])
    found.data = {"a": [{"b": text}], "c": text}
    fill_values(found, VALUES)
    assert found.data == {"a": [{"b": filled}], "c": filled}


def test_an_unknown_placeholder_names_its_place_and_what_is_known():
    found = merged("title: x\ninstructions:\n  - You are\n  - at ${compny}\n")
    with pytest.raises(SpecError, match=r"instructions.1 uses \$\{compny\}, which is no value of this bot") as caught:
        fill_values(found, {"company": "A", "bot": "b"})
    assert caught.value.where == "1.yaml:4"
    assert caught.value.remedy == "Known values: bot, company. Write $${compny} for the text itself."
