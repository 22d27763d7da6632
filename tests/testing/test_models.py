"""Scripted models: what they say, what they refuse, and LangChain's own tests of them."""

from __future__ import annotations

import time

import pytest
import sartor
from langchain_core.messages import HumanMessage
from langchain_tests.unit_tests import ChatModelUnitTests
from sartor.testing import Call, Fail, Rule, RuleModel, Say, ScriptedModel
from sartor.testing.fits import misfits
from sartor.testing.script import line_of, told
from sartor.tools import tool
from sartor.values import Outcome


class TestScriptedModelByLangChain(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return ScriptedModel

    @property
    def chat_model_params(self):
        return {"script": ["Hello."]}


@tool
def hours(city: str, day: int = 1) -> str:
    "Opening hours of the shop."
    return f"{city} {day}"


BOUND = {"type": "function", "function": {"name": "hours", "description": "x", "parameters": hours.schema}}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call("ours", {}), "calls 'ours', but the bound tools are \\['hours'\\]"),
        (Call("hours", {}), "city is missing"),
        (Call("hours", {"city": 3}), "city: 3 is no string"),
        (Call("hours", {"city": "Cork", "day": "x"}), "day: 'x' is no integer"),
        (Call("hours", {"city": "Cork", "when": 1}), "when: there is no such argument"),
    ],
)
def test_a_scripted_call_that_the_tool_would_not_take_fails_loudly(call, message):
    model = ScriptedModel(script=[call])
    with pytest.raises(AssertionError, match=message):
        model.bind_tools([BOUND]).invoke("Hi")
    assert len(model.faults) == 1


def test_wrong_arguments_can_be_scripted_on_purpose():
    model = ScriptedModel(script=[Call("hours", {"city": 3})], check_arguments=False)
    assert model.bind_tools([BOUND]).invoke("Hi").tool_calls[0]["args"] == {"city": 3}


def test_a_script_that_is_over_fails_loudly():
    model = ScriptedModel(script=["One."])
    assert model.invoke("Hi").text == "One." and model.left == 0
    with pytest.raises(AssertionError, match="the script has 1 lines, and the model was called again"):
        model.invoke("Hi")


async def test_usage_delays_and_errors_are_scripted():
    model = ScriptedModel(script=[Say("Hello there.", usage=(10, 4, 6), delay=0.02), Fail("no luck", after="Well")])
    began = time.perf_counter()
    whole = None
    async for chunk in model.astream("Hi"):
        whole = chunk if whole is None else whole + chunk
    assert time.perf_counter() - began >= 0.04
    assert whole.usage_metadata["total_tokens"] == 14
    assert whole.usage_metadata["input_token_details"] == {"cache_read": 6}
    heard = ""
    with pytest.raises(RuntimeError, match="no luck"):
        async for chunk in model.astream("Hi"):
            heard += chunk.text
    assert heard == "Well"
    assert [messages[-1].text for messages in model.prompts] == ["Hi", "Hi"]


def test_lines_are_written_down_and_read_again():
    lines = ["a", Call("b", {"c": 1}), Say("d", (1, 2, 3), 0.5), Fail("e", "f"), [Call("g"), Call("h", {"i": [2]})]]
    assert [line_of(told(line)) for line in lines] == lines
    with pytest.raises(TypeError, match="no line of a script"):
        told(print)
    with pytest.raises(ValueError, match="no line of a script"):
        line_of({"speak": 1})


def test_rules_answer_what_the_user_wrote():
    rules = [Rule(r"hours in (?P<city>\w+)", Call("hours", {"city": "{city}"})), Rule("hello", "Hello {name}!")]
    model = RuleModel(rules=rules, script=["Pardon?"])
    asked = model.bind_tools([BOUND])
    assert asked.invoke("What are the hours in Cork?").tool_calls[0]["args"] == {"city": "Cork"}
    assert asked.invoke([HumanMessage("Hello")]).text == "Hello {name}!"
    assert asked.invoke("What?").text == "Pardon?"
    with pytest.raises(AssertionError, match="no rule fits 'Why\\?'"):
        asked.invoke("Why?")


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, ""),
        (True, {"type": "integer"}, "no integer"),
        (2.0, {"type": "integer"}, ""),
        (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, ""),
        (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "none of the alternatives"),
        ("x", {"enum": ["a", "b"]}, "none of"),
        ("A-1", {"type": "string", "pattern": r"^A-\d$"}, ""),
        (7, {"type": "number", "maximum": 5}, "beyond the maximum"),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, "1: 'x' is no integer"),
        ({"a": {}}, {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"required": ["c"]}}}, "c is missing"),
    ],
)  # fmt: skip
def test_values_fit_schemas(value, schema, wrong):
    found = "; ".join(misfits(value, schema))
    assert (wrong in found) if wrong else not found


def test_a_bot_fails_openly_when_its_model_does(sartor_project):
    with sartor.open_sync(sartor_project(script=[Fail("no luck")])) as bots:
        reply = bots["acme/support"].reply("Hi")
    assert reply.outcome is Outcome.FAILED and "no luck" in reply.error
