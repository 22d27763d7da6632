"""Tests of plugins that give policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from sartor.building import policies_of
from sartor.judge import Judge
from sartor.plugins import PluginSet
from sartor.policy import Draft, Kind, Policy, Stage, Verdict
from sartor.testing.suites.base import ODD_TEXTS, run
from sartor.testing.suites.isolation import IsolationSuite
from sartor.values import JSONValue, Origin, Passage, ToolCall, ToolResult, Turn

__all__ = ["Judged", "PolicySuite", "allowed", "asked", "blocked", "rewritten"]

_LONGEST_WINDOW = 2000
_STEPS = (1, 2, 3, 7, 16)


@dataclass(frozen=True)
class Judged:
    """An example: a text at a stage, and what the policies make of it. Make it with `allowed`, `blocked`, `asked`
    or `rewritten`."""

    stage: Stage
    text: str
    kind: Kind
    after: str = ""
    """The text as it is rewritten."""
    name: str = "tool"
    """The tool's name, at the stages of tools."""
    arguments: Mapping[str, JSONValue] | None = None
    origin: Origin = Origin.USER
    """Whose words the arguments are."""


def allowed(stage: str, text: str = "", **more: object) -> Judged:
    """`text` passes as it is; `name`, `arguments` and `origin` say more of a tool's call."""
    return Judged(Stage(stage), text, Kind.ALLOW, text, **more)  # type: ignore[arg-type]


def blocked(stage: str, text: str = "", **more: object) -> Judged:
    """`text` is blocked."""
    return Judged(Stage(stage), text, Kind.BLOCK, **more)  # type: ignore[arg-type]


def asked(stage: str, text: str = "", **more: object) -> Judged:
    """A person must approve."""
    return Judged(Stage(stage), text, Kind.ASK, **more)  # type: ignore[arg-type]


def rewritten(stage: str, text: str, after: str, **more: object) -> Judged:
    """`text` passes as `after`."""
    return Judged(Stage(stage), text, Kind.REWRITE, after, **more)  # type: ignore[arg-type]


class PolicySuite(IsolationSuite):
    """Tests of policies: their examples, streams cut anywhere, odd texts, windows, and failing closed."""

    hooks: ClassVar[Sequence[str]] = ("sartor_policies",)
    judged: ClassVar[Sequence[Judged]] = ()
    """Examples, at least one for each stage that a policy judges."""
    filler: ClassVar[str] = "Nothing is said here. "
    """A harmless text, which is put around examples of replies to make them longer than any window."""

    @pytest.fixture
    def policies(self, tmp_path: Path) -> Sequence[Policy]:
        """The policies of one bot."""
        return self.policies_for(tmp_path, "acme")

    def policies_for(self, root: Path, tenant: str) -> Sequence[Policy]:
        """The policies of the bot ``tenant/support``."""
        return policies_of(PluginSet([self.make(self.folder(root, tenant))]), self.info(root, tenant))

    def broken(self, policy: Policy) -> bool:
        """Break what the policy needs (a service, a file), and return true; the suite then checks that it blocks.
        By default there is nothing to break."""
        return False

    async def enter(self, judge: Judge, text: str) -> None:
        """Bring a turn to where its reply begins: by default its message passes the input policies."""
        await judge.input(text)

    def turn_of(self, one: Judged, number: int = 1) -> Turn:
        """The turn of an example: what is no message of the user's is judged in a turn that began with "Hello"."""
        return self.turn(one.text if one.stage is Stage.INPUT else "Hello", number=number)

    # What policies say

    async def judge(self, policies: Sequence[Policy], one: Judged, turn: Turn | None = None) -> tuple[Kind, str]:
        """What becomes of an example, as the core asks."""
        judge = Judge(policies, turn or self.turn_of(one))
        match one.stage:
            case Stage.INPUT:
                text, verdict = await judge.input(one.text)
            case Stage.PASSAGE:
                kept = await judge.passages([self.passage(one.text)])
                text, verdict = (kept[0].text, Verdict(Kind.ALLOW)) if kept else ("", Verdict(Kind.BLOCK))
            case Stage.TOOL_CALL:
                text, verdict = one.text, await judge.tool_call(self.call(one))
            case Stage.TOOL_RESULT:
                result = ToolResult("call-1", one.name, one.text)
                text, verdict = await judge.tool_result(self.call(one), result)
            case Stage.OUTPUT:
                await self.enter(judge, "Hello")
                text, said = await self.stream(judge, [one.text])
                verdict = said or Verdict(Kind.ALLOW)
        self.no_failure(judge, one.text)
        kind = verdict.kind
        return (Kind.REWRITE, text) if kind is Kind.ALLOW and text != one.text else (kind, text)

    async def stream(self, judge: Judge, pieces: Sequence[str]) -> tuple[str, Verdict | None]:
        """What is released of a reply that comes in `pieces`, and the verdict that ended it, if one did."""
        release = judge.release()
        for piece in pieces[:-1]:
            await release.feed(piece)
        await release.feed(pieces[-1] if pieces else "", final=True)
        return release.text, release.blocked

    def passage(self, text: str) -> Passage:
        """A passage of the tenant's documents."""
        return Passage("passage-1", "acme", "a.md", "A", text, 0.5)

    def call(self, one: Judged) -> ToolCall:
        """The tool call of an example."""
        told = dict(one.arguments or {})
        return ToolCall("call-1", one.name, told, {name: frozenset({one.origin}) for name in told})

    def no_failure(self, judge: Judge, text: str) -> None:
        """Fail where a policy raised, was late, gave no verdict, or wanted to edit what was out."""
        for record in judge.records:
            broke = record.reason.startswith(("policy failed", "policy did not", "policy wants"))
            assert not broke, f"{record.policy} at {record.stage}, for {text[:60]!r}: {record.reason}"

    def of(self, stage: Stage) -> Iterator[Judged]:
        """The examples of a stage."""
        return (one for one in self.judged if one.stage is stage)

    # The tests

    def test_there_are_policies(self, policies: Sequence[Policy]) -> None:
        self.need(policies, "settings with which it gives policies")

    def test_windows_and_timeouts_are_sound(self, policies: Sequence[Policy]) -> None:
        for policy in policies:
            assert policy.window is None or 0 <= policy.window <= _LONGEST_WINDOW, f"{policy.name}: {policy.window}"
            assert 0 < policy.timeout <= 60, f"{policy.name}: a timeout of {policy.timeout} s"

    def test_every_stage_has_an_example(self, policies: Sequence[Policy]) -> None:
        self.need(self.judged, "examples of what it judges, in `judged`")
        stages = {stage for policy in policies for stage in Stage if policy.judges(stage)}
        missing = stages - {one.stage for one in self.judged}
        assert not missing, f"`judged` has no example for {', '.join(sorted(missing))}"

    def test_the_examples_hold(self, policies: Sequence[Policy]) -> None:
        self.need(self.judged, "examples of what it judges, in `judged`")
        for one in self.judged:
            kind, text = run(self.judge(policies, one))
            wanted = Kind.BLOCK if one.stage is Stage.PASSAGE and one.kind is Kind.ASK else one.kind
            assert kind is wanted, f"{one.stage}: {one.text!r}: {kind}, not {wanted}"
            if one.kind in (Kind.ALLOW, Kind.REWRITE) and one.stage is not Stage.TOOL_CALL:
                assert text == one.after, f"{one.stage}: {one.text!r} became {text!r}"

    def test_a_reply_cut_anywhere_comes_out_the_same(self, policies: Sequence[Policy]) -> None:
        for one in self.of(Stage.OUTPUT):
            text = one.text
            cuts = [[text[:at], text[at:]] for at in range(len(text) + 1)]
            run(self._the_same(policies, text, [*cuts, list(text)]))

    def test_a_long_reply_comes_out_the_same_in_pieces_of_any_size(self, policies: Sequence[Policy]) -> None:
        windows = [policy.window or 0 for policy in policies if policy.judges(Stage.OUTPUT)]
        around = self.filler * (max(windows, default=0) // max(1, len(self.filler)) + 2)
        for one in self.of(Stage.OUTPUT):
            text = f"{around}{one.text} {around}"
            pieces = [[text[at : at + step] for at in range(0, len(text), step)] for step in _STEPS]
            run(self._the_same(policies, text, pieces))

    async def _the_same(self, policies: Sequence[Policy], text: str, ways: Sequence[Sequence[str]]) -> None:
        async def come_out(pieces: Sequence[str]) -> tuple[str, Verdict | None]:
            judge = Judge(policies, self.turn("Hello"))
            await self.enter(judge, "Hello")
            released = await self.stream(judge, pieces)
            self.no_failure(judge, text)
            return released

        whole, verdict = await come_out([text])
        for pieces in ways:
            out, ended = await come_out(pieces)
            shown = f"in pieces {[len(piece) for piece in pieces][:5]}…"
            assert (ended is None) == (verdict is None), f"{text[:80]!r} {shown}: blocked is {ended is not None}"
            if ended is None:
                assert out == whole, f"{shown}: {out!r}, in one piece {whole!r}"
            elif out:
                _, alone = await come_out([out])
                assert alone is None, f"{shown}: {out[-80:]!r} was released, which by itself is blocked"

    @pytest.mark.parametrize("stage", list(Stage))
    def test_odd_texts_raise_nothing(self, policies: Sequence[Policy], stage: Stage) -> None:
        for odd in ODD_TEXTS:
            run(self.judge(policies, Judged(stage, odd, Kind.ALLOW, arguments={"text": odd})))

    def test_odd_replies_come_out_the_same_in_pieces(self, policies: Sequence[Policy]) -> None:
        for odd in ODD_TEXTS[:-2]:
            run(self._the_same(policies, odd, [list(odd), [odd[:3], odd[3:]]]))

    def test_reasons_repeat_nothing_of_the_text(self, policies: Sequence[Policy]) -> None:
        for one in self.judged:
            judge = Judge(policies, self.turn_of(one))
            run(self._recorded(judge, policies, one))
            for record in judge.records:
                parts = [one.text[at : at + 12] for at in range(max(0, len(one.text) - 11))]
                found = [part for part in parts if part in record.reason]
                assert not found, f"the reason {record.reason!r} repeats {found[0]!r}; it goes into the audit"

    async def _recorded(self, judge: Judge, policies: Sequence[Policy], one: Judged) -> None:
        questions: Mapping[Stage, Callable[[Policy], Sequence[object]]] = {
            Stage.INPUT: lambda policy: (policy.input, one.text),
            Stage.PASSAGE: lambda policy: (policy.passage, self.passage(one.text)),
            Stage.TOOL_CALL: lambda policy: (policy.tool_call, self.call(one)),
            Stage.TOOL_RESULT: lambda policy: (
                policy.tool_result, self.call(one), ToolResult("call-1", one.name, one.text),
            ),
            Stage.OUTPUT: lambda policy: (policy.output, Draft(one.text, 0, True)),
        }  # fmt: skip
        for policy in policies:
            if policy.judges(one.stage):
                question, *about = questions[one.stage](policy)
                await judge.ask(policy, one.stage, question, *about)  # type: ignore[arg-type]

    def test_one_turn_does_not_decide_about_another(self, policies: Sequence[Policy]) -> None:
        for one in self.judged:
            alone = run(self.judge(policies, one, self.turn_of(one, 1001)))
            for number, other in enumerate(self.judged):
                run(self.judge(policies, other, self.turn_of(other, number)))
            assert run(self.judge(policies, one, self.turn_of(one, 1002))) == alone

    def test_it_blocks_when_what_it_needs_is_gone(self, tmp_path: Path) -> None:
        for policy in self.policies_for(tmp_path, "acme"):
            if not self.broken(policy):
                pytest.skip("nothing to break: override `broken`")
            for stage in Stage:
                if policy.judges(stage):
                    kind, _ = run(self._broken(policy, stage))
                    assert kind in (Kind.BLOCK, Kind.ASK), f"{policy.name} lets pass at {stage} what it cannot judge"

    async def _broken(self, policy: Policy, stage: Stage) -> tuple[Kind, str]:
        judge = Judge([policy], self.turn("Hello"))
        await self._recorded(judge, [policy], Judged(stage, "Hello", Kind.BLOCK))
        return (Kind(judge.records[-1].kind), "") if judge.records else (Kind.ALLOW, "")
