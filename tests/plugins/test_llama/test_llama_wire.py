"""What goes through the worker's pipes comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import io
import json
import math
from dataclasses import fields
from typing import Any, get_args

import pytest
from sartor import errors
from sartor.errors import ModelError, OverloadedError, SartorError
from sartor.values import Choices
from sartor_plugins.llama import wire
from sartor_plugins.llama.engine.context import Failed
from sartor_plugins.llama.prompt import Called, Line
from sartor_plugins.llama.reply import Compared, Ended, Request, Said
from sartor_plugins.llama.sampling import Sampling
from sartor_plugins.llama.toolcalls import BrokenCall, Call, Text
from sartor_plugins.llama.wire import Garbled

REQUEST = Request(
    lines=(
        Line("system", "Sei nett. \u2603 \ud800 \x00"),
        Line("assistant", "", (Called("c1", "hours", {"city": "Rome", "deep": [{"a": None}, 1.5]}),)),
        Line("tool", "9 to 5", call="c1", tool="hours"),
    ),
    tools=({"type": "function", "function": {"name": "hours", "parameters": {"enum": [1, None, "x"]}}},),
    must_call=True,
    choices=Choices(("a", "b"), (1.0, 0.5), quotes=1, at_most=2, call=0.25),
    options=("yes", "no"),
    grammar='root ::= "a"',
    sampling=Sampling(0.1, 0.2, 0.3, 1.4, 5),
    max_tokens=7,
    stop=("\n", "\ud800"),
    scope="acme",
    share=2.5,
    adapter="acme",
    public="Rules.",
)
EVENTS: list[Said] = [
    Text("a \U0001f600 \ufffd \ud800"),
    Call("c1", "hours", '{"city": "Rome"}'),
    BrokenCall("{", "cut off"),
    Compared((-0.5, -math.inf)),
    Ended("tool_calls", 1, 2, 3, 0.5, 4, 5),
]


ENDED = wire.told_event(EVENTS[-1])


def through(told: dict[str, Any]) -> dict[str, Any]:
    out = wire.read(io.BytesIO(wire.frame(told)))
    assert out is not None
    return out


def test_requests() -> None:
    from dataclasses import asdict

    plain = Request((Line("user", "Hi"),))
    same = [one.name for one in fields(Request) if getattr(REQUEST, one.name) == getattr(plain, one.name)]
    assert not same, "this test is to hold a value for each field"
    for request in (REQUEST, plain):
        assert wire.request_of(through(asdict(request))) == request


def test_what_is_no_json_becomes_text() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    assert through({"a": Odd()}) == {"a": "odd"}


def test_events() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Said)), "this test is to hold each kind"
    for event in EVENTS:
        assert wire.event_of(through({"event": wire.told_event(event)})["event"]) == event


@pytest.mark.parametrize("name", errors.__all__)
def test_errors(name: str) -> None:
    kind = getattr(errors, name)
    more = {"retry_after": 2.5} if kind is OverloadedError else {}
    for place in ({}, {"where": "model.gguf", "remedy": "Set `cells` higher."}):
        error: SartorError = kind("it failed \ud800", **place, **more)
        found = wire.error_of(through(wire.told_error(error)))
        assert type(found) is kind
        assert str(found) == str(error)
        assert (found.what, found.where, found.remedy) == (error.what, error.where, error.remedy)
        assert getattr(found, "retry_after", None) == getattr(error, "retry_after", None)


def test_other_errors_become_those_that_are_known() -> None:
    found = wire.error_of(through(wire.told_error(Failed("code -3", remedy="None."))))
    assert (type(found), found.what, found.remedy) == (ModelError, "code -3", "None.")
    found = wire.error_of(through(wire.told_error(ZeroDivisionError("by zero"))))
    assert (type(found), found.what) == (ModelError, "the model failed: ZeroDivisionError: by zero")


assert isinstance(ENDED, dict)


@pytest.mark.parametrize(
    "told",
    [
        None,
        1,
        [],
        {},
        {"kind": "SartorError"},
        {"kind": "Call", "id": "a", "name": "b"},
        {"kind": "Call", "id": "a", "name": "b", "arguments": {}},
        {"kind": "BrokenCall", "text": 1, "reason": "b"},
        {"kind": "Compared", "scores": ["a"]},
        {"kind": "Compared", "scores": 1},
        {"kind": "Ended", "reason": "stop"},
        {**ENDED, "reason": "bored"},
        {**ENDED, "prompt": True},
        {**ENDED, "first": "1"},
    ],
)
def test_damaged_events_are_refused(told: object) -> None:
    with pytest.raises(Garbled):
        wire.event_of(told)


@pytest.mark.parametrize(
    "told", [None, "text", {}, {"what": 1}, {"what": "a", "kind": 2}, {"what": "a", "kind": "OverloadedError"}]
)
def test_damaged_errors_are_refused(told: object) -> None:
    with pytest.raises(Garbled):
        wire.error_of(told)


def test_unknown_kinds_of_errors_are_errors_of_the_model() -> None:
    assert type(wire.error_of({"kind": "SystemExit", "what": "a"})) is ModelError


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff{}", b"\0\0\0\2[]", b"\0\0\0\1{", b"\0\0\0\2\xff\xff"])
def test_damaged_frames_are_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        wire.read(io.BytesIO(data))
    deep = b"[" * 100_000
    with pytest.raises(Garbled):
        wire.read(io.BytesIO(len(deep).to_bytes(4, "big") + deep))


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\0\5{}"])
def test_a_stream_that_ends(data: bytes) -> None:
    assert wire.read(io.BytesIO(data)) is None
    assert json.loads(wire.frame({"a": 1})[4:]) == {"a": 1}
