"""Replies that must look like something, and options that are only compared."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel
from sartor.errors import ModelError
from sartor_plugins.llama.model import LlamaChatModel

Make = Callable[..., LlamaChatModel]
MakeTable = Callable[..., Path]

HI = [HumanMessage("Hi")]
SCHEMA = {
    "type": "object",
    "properties": {"open": {"type": "boolean"}, "day": {"enum": ["Monday", "Tuesday"]}},
    "required": ["open", "day"],
}


class Hours(BaseModel):
    """When the shop is open."""

    open: bool
    days: list[bool]


async def test_a_reply_fits_a_schema_whatever_the_weights(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=2.0)
    wanted = {"type": "json_schema", "json_schema": {"name": "hours", "schema": SCHEMA}}
    for seed in range(5):
        told = json.loads((await model.ainvoke(HI, response_format=wanted, seed=seed)).text)
        assert set(told) == {"open", "day"}
        assert told["open"] in (True, False) and told["day"] in ("Monday", "Tuesday")


async def test_a_reply_fits_a_grammar(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=2.0)
    for seed in range(5):
        said = await model.ainvoke(HI, grammar='root ::= ("yes" | "no") " "? [0-9]{1,3}', seed=seed)
        assert re.fullmatch(r"(yes|no) ?\d{1,3}", said.text)
        assert said.response_metadata["finish_reason"] == "stop"


async def test_any_text_is_fine_where_nothing_is_asked(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=0, max_tokens=8)
    plain = (await model.ainvoke(HI)).text
    for told in ({"grammar": None}, {"response_format": {"type": "text"}}, {"grammar": ""}):
        assert (await model.ainvoke(HI, **told)).text == plain


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output(make: Make, random_model: Path, method: Any) -> None:
    model = make(random_model, temperature=0, max_tokens=300)
    found = await model.with_structured_output(Hours, method=method).ainvoke(HI)
    assert isinstance(found, Hours)


async def test_structured_output_with_what_was_said(make: Make, random_model: Path) -> None:
    model = make(random_model, temperature=0, max_tokens=300)
    found = await model.with_structured_output(SCHEMA, method="json_schema", include_raw=True).ainvoke(HI)
    assert found["parsed"] == json.loads(found["raw"].text) and found["parsing_error"] is None  # type: ignore[index]
    cut = (
        await make(random_model, max_tokens=1)
        .with_structured_output(Hours, method="json_schema", include_raw=True)
        .ainvoke(HI)
    )
    assert cut["parsed"] is None and cut["parsing_error"] is not None  # type: ignore[index]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"response_format": {"type": "xml"}}, "cannot be"),
        ({"response_format": "json"}, "cannot be"),
        ({"response_format": {"type": "json_schema"}}, "no schema"),
        ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "exclude one another"),
        ({"grammar": 5}, "as text"),
        ({"grammar": "root ::= nothing-there"}, "does not understand"),
    ],
)
async def test_what_cannot_be_asked_is_refused(make: Make, random_model: Path, told: Any, message: str) -> None:
    model = make(random_model, max_tokens=4)
    with pytest.raises(ModelError, match=message):
        await model.ainvoke(HI, **told)
    assert (await model.ainvoke(HI)).usage_metadata


async def test_options_are_compared_as_whole_replies(make: Make, table_model: MakeTable) -> None:
    follows = {"\n": [("a", 2.0), ("b", 1.0)], "a": "<|end|>", "b": "<|end|>"}
    model = make(table_model(follows), temperature=0)
    scores = await model.compare(HI, ["a", "b", "ab", "a"])
    assert scores[0] > scores[1] > scores[2]
    assert scores[0] == pytest.approx(scores[3])
    assert all(score < 0 for score in scores)


async def test_comparing_agrees_with_one_after_the_other(make: Make, random_model: Path) -> None:
    model = make(random_model)
    options = ["Yes", "No", "Perhaps not", "Ask a person"]
    together = await model.compare(HI, options, cache_scope="acme")
    apart = [(await model.compare(HI, [option], cache_scope="acme"))[0] for option in options]
    assert together == pytest.approx(apart, abs=0.1)
    assert sum(map(math.exp, together)) < 1
    with pytest.raises(ModelError, match="at least one"):
        await model.compare(HI, [])
