"""What of a message may be an argument that must be the user's own words, and what a model sees of a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor import toolbox
from sartor.errors import ToolError
from sartor.spec import Limits
from sartor.tools import tool
from sartor.values import ToolCall, Turn

TEXTS = st.lists(st.text("aB1-2 .,b", max_size=30), max_size=4)
PATTERNS = ["^(?:[ab]{0,2}-?[0-9]{1,3})$", "[0-9]+", "^a|b$", r"\bb", "^(?!a)b", "[^a]1", "(a)(?=b)"]


@given(TEXTS, st.sampled_from(PATTERNS))
def test_texts_that_are_passed_over_have_nothing_that_fits(said: list[str], pattern: str) -> None:
    found = list(toolbox._fitting(said, pattern))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolbox, "_anywhere", lambda _: None)
        assert found == list(toolbox._fitting(said, pattern))


async def test_a_tool_may_fail_in_words_for_the_model():
    @tool
    def book(day: str) -> str:
        "Book a table."
        raise ToolError(f"{day} is full{'!' * 300}", remedy="The password is x.")

    turn, call = Turn("t", "c", "acme", "support", "u", "?"), ToolCall("1", "book", {"day": "Monday"})
    result = await toolbox.run_tool(book, call, call.arguments, turn, Limits(tool_characters=100))
    assert result.error and result.text.startswith("Error: book failed: Monday is full!")
    assert "cut" in result.text and "password" not in result.text
