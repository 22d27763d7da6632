"""Policies fail closed, and no character of a streaming reply is released that a policy later forbids."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor import ALLOW, Edit, Policy, Verdict, ask, block, rewrite
from sartor.judge import Judge
from sartor.policy import Kind
from sartor.values import Passage, ToolCall, ToolResult, Turn

TURN = Turn("t1", "c1", "acme", "support", "u1", "hello")
PASSAGE = Passage("p1", "acme", "a.md", "A", "hello")
CALL = ToolCall("1", "look_up", {"order": "7"})
RESULT = ToolResult("1", "look_up", "hello")
STAGES = ["input", "passage", "tool_call", "tool_result", "output"]


def policy(stage: str, answer, **attributes) -> Policy:
    """A policy that answers at one stage: `answer` is called with what is judged."""

    async def judge(self, turn, *about):
        result = answer(about[-1])
        return await result if asyncio.iscoroutine(result) else result

    return type("Guard", (Policy,), {stage: judge, "name": "guard", **attributes})()


async def put(stage: str, judge: Judge) -> tuple[bool, str]:
    """Let "hello" through `stage`: whether it passed, and as what."""
    match stage:
        case "input":
            text, verdict = await judge.input("hello")
            return verdict.kind is Kind.ALLOW, text
        case "passage":
            kept = await judge.passages([PASSAGE])
            return bool(kept), kept[0].text if kept else ""
        case "tool_call":
            return (await judge.tool_call(CALL)).kind is Kind.ALLOW, ""
        case "tool_result":
            text, verdict = await judge.tool_result(CALL, RESULT)
            return verdict.kind is Kind.ALLOW, text
        case _:
            release = judge.release()
            text = await release.feed("hello", final=True)
            return release.blocked is None, text


def raises(about):
    raise RuntimeError("secret")


def times_out_itself(about):
    raise TimeoutError


FAULTS = {
    "raises": raises,
    "raises TimeoutError": times_out_itself,
    "hangs": lambda about: asyncio.sleep(60),
    "None": lambda about: None,
    "True": lambda about: True,
    "a text": lambda about: "allow",
    "an unknown kind": lambda about: Verdict("deny"),
    "a kind as text": lambda about: Verdict("block"),
    "an edit out of range": lambda about: rewrite([Edit(2, 99, "")]),
    "an edit before the start": lambda about: rewrite([Edit(-1, 2, "")]),
    "an edit that ends before it starts": lambda about: rewrite([Edit(3, 2, "")]),
    "an edit of no numbers": lambda about: rewrite([Edit("a", "b", "")]),
    "an edit to no text": lambda about: rewrite([Edit(0, 1, None)]),
    "something that is no edit": lambda about: rewrite(["x"]),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_policy_that_fails_blocks(stage, fault):
    judge = Judge([policy(stage, FAULTS[fault], timeout=0.01)], TURN)
    passed, text = await put(stage, judge)
    assert not passed and text in ("", "hello" if stage == "input" else "")
    [record] = judge.records
    assert (record.policy, record.stage, record.kind) == ("guard", stage, "block")
    assert record.reason.startswith("policy ") and "secret" not in record.reason


async def test_a_sync_method_blocks():
    guard = type("Guard", (Policy,), {"input": lambda self, turn, text: ALLOW, "name": "guard"})()
    assert not (await put("input", Judge([guard], TURN)))[0]


async def test_edits_to_a_tool_call_block_for_it_has_no_text():
    judge = Judge([policy("tool_call", lambda call: rewrite([Edit(0, 0, "x")]))], TURN)
    assert not (await put("tool_call", judge))[0]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("verdict", [block("rule 7", "No."), ask("rule 7")])
async def test_block_and_ask_without_an_approver_let_nothing_pass(stage, verdict):
    later = policy(stage, lambda about: pytest.fail("asked after a block"))
    judge = Judge([policy(stage, lambda about: verdict), later], TURN)
    passed, _ = await put(stage, judge)
    assert not passed
    assert judge.records[0].reason == "rule 7" and judge.records[0].kind == verdict.kind.value


@pytest.mark.parametrize("stage", ["input", "passage", "tool_result", "output"])
async def test_an_approver_is_asked_about_tool_calls_only(stage):
    async def approve(call, reason):
        pytest.fail("asked")

    judge = Judge([policy(stage, lambda about: ask("rule 7"))], TURN, approve)
    assert not (await put(stage, judge))[0]


@pytest.mark.parametrize(("answer", "kind"), [(True, "approved"), (False, "refused")])
async def test_what_the_approver_says_counts_and_is_recorded(answer, kind):
    async def approve(call, reason):
        assert (call, reason) == (CALL, "costs money")
        return answer

    judge = Judge([policy("tool_call", lambda call: ask("costs money"))], TURN, approve)
    passed, _ = await put("tool_call", judge)
    assert passed is answer
    assert [(r.policy, r.kind, r.subject) for r in judge.records] == [
        ("guard", "ask", "look_up"),
        ("approver", kind, "look_up"),
    ]


@pytest.mark.parametrize("stage", ["input", "passage", "tool_result", "output"])
async def test_edits_are_made_one_policy_after_the_other_and_recorded(stage):
    def text(about):
        return about if isinstance(about, str) else about.text

    first = policy(stage, lambda about: rewrite([Edit(0, 1, "J"), Edit(4, 5, "o!")], "greeting"), name="first")
    second = policy(stage, lambda about: block("order") if text(about) != "Jello!" else rewrite([Edit(0, 5, "Hi")]))
    judge = Judge([first, second], TURN)
    assert await put(stage, judge) == (True, "Hi!")
    assert [(r.policy, r.kind, r.reason) for r in judge.records] == [
        ("first", "rewrite", "greeting"),
        ("guard", "rewrite", ""),
    ]


async def test_a_plain_allow_is_not_recorded_and_stages_without_a_method_are_not_asked():
    judge = Judge([policy("input", lambda text: ALLOW), Policy()], TURN)
    for stage in STAGES:
        assert (await put(stage, judge))[0]
    assert judge.records == []


async def test_a_blocked_passage_is_left_out_and_the_others_stay():
    other = Passage("p2", "acme", "b.md", "B", "secret plan")
    guard = policy("passage", lambda passage: block("secret") if "secret" in passage.text else ALLOW)
    judge = Judge([guard], TURN)
    assert await judge.passages([other, PASSAGE]) == [PASSAGE]
    assert [(r.stage, r.subject) for r in judge.records] == [("passage", "p2")]


async def test_overlapping_edits_are_made_from_the_left():
    assert rewrite([Edit(2, 4, "x"), Edit(0, 3, "y")]).apply("abcdef") == "yef"
    assert rewrite([Edit(0, 4, "*"), Edit(0, 19, "*")]).apply("4111 1111 1111 1111 ok") == "* ok"
    assert rewrite([Edit(2, 2, "+"), Edit(2, 4, "x")]).apply("abcdef") == "ab+xef"


# The stream.


class Redact(Policy):
    """Puts stars for what `pattern` finds; `forbidden` ends the reply."""

    def __init__(self, pattern: str, window: int | None, forbidden: str = "", text: str = "*") -> None:
        self.pattern, self.window, self.text = re.compile(pattern), window, text
        self.forbidden = re.compile(forbidden) if forbidden else None
        self.name = "redact"

    async def output(self, turn, draft):
        if self.forbidden and self.forbidden.search(draft.text):
            return block("forbidden")
        return rewrite([Edit(*m.span(), self.text) for m in self.pattern.finditer(draft.text)], "digits")


async def stream(policies, pieces) -> tuple[list[str], object]:
    """What is released after each piece, the end of the reply last; and the verdict that blocked."""
    release = Judge(policies, TURN).release()
    out = [await release.feed(piece) for piece in pieces]
    out.append(await release.feed("", final=True))
    assert release.text == "".join(out)
    return out, release.blocked


def cut(text: str, places) -> list[str]:
    bounds = [0, *sorted(place for place in places if place <= len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


TEXTS = st.text("ab1 23", max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=12)


@given(
    TEXTS,
    CUTS,
    st.sampled_from([r"\d{2,4}", r"\b\d{1,4}\b", r"a\d?b", r"a(?=b)", r"(?<=a)b", "ab|b1", r"(?:1 ?){1,2}"]),
)
def test_any_split_gives_the_same_text(text, places, pattern):
    whole = rewrite([Edit(*m.span(), "*") for m in re.finditer(pattern, text)]).apply(text)
    out, blocked = asyncio.run(stream([Redact(pattern, 4)], cut(text, places)))
    assert blocked is None and "".join(out) == whole


@given(TEXTS, CUTS, CUTS)
def test_a_chain_of_two_policies_gives_the_same_text_at_any_split(text, places, others):
    def chain():
        return [Redact(r"\d{2,4}", 4, text="ab"), Redact(r"ab+a", 6, text="")]

    first, _ = asyncio.run(stream(chain(), cut(text, places)))
    second, _ = asyncio.run(stream(chain(), [text]))
    assert "".join(first) == "".join(second)
    step = re.sub(r"ab+a", "", re.sub(r"\d{2,4}", "ab", text)) if "bbb" not in text else None
    assert step is None or "".join(first) == step


@given(TEXTS, CUTS)
def test_nothing_of_what_is_edited_is_ever_released(text, places):
    """Letters stand for themselves, so what is released tells where in the text it ends."""
    pieces = cut(text, places)
    policies = [Redact(r"\d{2,4}", 4, text="")]
    whole = re.sub(r"\d{2,4}", "", text)

    async def run():
        release = Judge(policies, TURN).release()
        for at in range(len(pieces)):
            await release.feed(pieces[at])
            assert whole.startswith(release.text)

    asyncio.run(run())


@given(st.text("abc", max_size=12), st.text("abc", max_size=30), CUTS)
def test_nothing_is_released_from_where_a_block_begins(before, after, places):
    text = before + "1234" + after
    out, blocked = asyncio.run(stream([Redact("x", 4, forbidden="1234")], cut(text, places)))
    assert blocked is not None and blocked.reason == "forbidden"
    assert before.startswith("".join(out))


@given(st.text("ab", min_size=1, max_size=40), st.integers(0, 12))
def test_exactly_the_window_is_held_back(text, window):
    async def run():
        release = Judge([Redact("x", window)], TURN).release()
        for at, character in enumerate(text, start=1):
            await release.feed(character)
            assert release.text == text[: max(0, at - window)]
        await release.feed("", final=True)
        assert release.text == text

    asyncio.run(run())


async def test_without_a_window_everything_is_held_back_until_the_end():
    out, _ = await stream([Redact(r"\d", None)], ["ab", "c1", "d"])
    assert out == ["", "", "", "abc*d"]


async def test_the_policy_sees_the_whole_text_and_what_is_released_of_it():
    seen = []

    def look(draft):
        seen.append((draft.text, draft.released, draft.final))
        return ALLOW

    out, _ = await stream([policy("output", look, window=2)], ["abc", "d", "ef"])
    assert out == ["a", "b", "cd", "ef"]
    assert seen == [("abc", 0, False), ("abcd", 1, False), ("abcdef", 2, False), ("abcdef", 4, True)]


@pytest.mark.parametrize(
    "late",
    [
        Edit(3, 7, "*"),  # across what was released
        Edit(0, 3, "*"),  # within it
        Edit(2, 2, "*"),
    ],
)
async def test_an_edit_of_what_was_released_blocks(late):
    guard = policy("output", lambda draft: rewrite([late]) if len(draft.text) > 8 else ALLOW, window=2)
    judge = Judge([guard], TURN)
    release = judge.release()
    assert await release.feed("abcdefg") == "abcde"
    assert await release.feed("hij") == ""
    assert release.blocked is not None and "window is too small" in release.blocked.reason
    assert judge.records[-1].kind == "block"
    assert await release.feed("more", final=True) == "" and release.text == "abcde"


async def test_an_edit_that_was_made_may_be_left_out_or_repeated_later():
    forgetful = policy("output", lambda d: rewrite([Edit(0, 2, "*")]) if d.released == 0 else ALLOW, window=1)
    assert await stream([forgetful], ["abcd", "ef"]) == (["*c", "de", "f"], None)
    faithful = policy("output", lambda d: rewrite([Edit(0, 2, "*")]), window=1)
    assert await stream([faithful], ["abcd", "ef"]) == (["*c", "de", "f"], None)


async def test_an_insertion_is_made_once():
    def insert(draft):
        at = draft.text.find("b")
        return rewrite([Edit(at, at, "+"), Edit(at, at + 3, "*")]) if 0 <= at <= len(draft.text) - 3 else ALLOW

    for pieces in (["aabcdef"], list("aabcdef"), ["aabcd", "ef"]):
        assert "".join((await stream([policy("output", insert, window=3)], pieces))[0]) == "aa+*ef"


async def test_an_insertion_at_the_end_of_the_reply():
    sign = policy(
        "output", lambda d: rewrite([Edit(len(d.text), len(d.text), " Bye.")]) if d.final else ALLOW, window=2
    )
    assert "".join((await stream([sign], ["Hel", "lo"]))[0]) == "Hello Bye."


async def test_overlapping_edits_give_the_same_text_at_any_split():
    def edits(draft):
        found = [Edit(0, 4, "x"), Edit(3, 7, "y")]
        return rewrite([edit for edit in found if edit.end <= len(draft.text)])

    for pieces in (["abcdefghij"], list("abcdefghij"), ["abcdef", "ghij"]):
        assert "".join((await stream([policy("output", edits, window=7)], pieces))[0]) == "xhij"


async def test_a_block_by_the_second_policy_ends_the_reply():
    out, blocked = await stream([Redact("x", 0), Redact("x", 3, forbidden="no")], ["abcdef", "gh no", "ij"])
    assert blocked is not None and out == ["abc", "", "", ""]


async def test_edits_of_a_stream_are_recorded_once_each_time_that_some_are_made():
    judge = Judge([Redact(r"\d", 1)], TURN)
    release = judge.release()
    for piece in ("a1b", "cd", "e2f", "gh"):
        await release.feed(piece)
    await release.feed("", final=True)
    assert release.text == "a*bcde*fgh"
    assert [(r.policy, r.kind, r.reason) for r in judge.records] == [("redact", "rewrite", "digits")] * 2


async def test_ask_at_the_output_blocks_even_with_an_approver():
    async def approve(call, reason):
        return True

    judge = Judge([policy("output", lambda draft: ask("check"), window=0)], TURN, approve)
    release = judge.release()
    assert await release.feed("abc") == "" and release.blocked is not None
