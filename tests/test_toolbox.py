"""What of a user's messages may be an argument that must be the user's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor import toolbox

TEXTS = st.lists(st.text("aB1-2 .,b", max_size=30), max_size=4)
PATTERNS = ["^(?:[ab]{0,2}-?[0-9]{1,3})$", "[0-9]+", "^a|b$", r"\bb", "^(?!a)b", "[^a]1", "(a)(?=b)"]


@given(TEXTS, st.sampled_from(PATTERNS))
def test_texts_that_are_passed_over_have_nothing_that_fits(said: list[str], pattern: str) -> None:
    found = list(toolbox._fitting(said, pattern))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolbox, "_anywhere", lambda _: None)
        assert found == list(toolbox._fitting(said, pattern))
