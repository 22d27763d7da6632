"""Asking policies, and keeping a record of what they said.

Policies fail closed: one that raises, answers late or answers with something that is no verdict, blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sartor.policy import ALLOW, Draft, Edit, Kind, Policy, Stage, Verdict
from sartor.timely import within
from sartor.values import Passage, ToolCall, ToolResult, Turn, VerdictRecord

__all__ = ["Approver", "Judge", "Release"]

log = logging.getLogger("sartor.policy")

Approver = Callable[[ToolCall, str], Awaitable[bool]]
"""Asked when a policy wants a person to approve a tool call: the call and the reason; true lets it run."""


class Judge:
    """The policies of one bot, asked about one turn."""

    def __init__(self, policies: Sequence[Policy], turn: Turn, approver: Approver | None = None) -> None:
        self._policies = policies
        self.turn = turn
        self._approver = approver
        self.records: list[VerdictRecord] = []

    async def input(self, text: str) -> tuple[str, Verdict]:
        """The user's message as the policies let it pass, and the verdict: allow or block."""
        for policy in self._at(Stage.INPUT):
            verdict = await self.ask(policy, Stage.INPUT, policy.input, text)
            if verdict.kind in (Kind.BLOCK, Kind.ASK):
                return text, verdict
            text = verdict.apply(text)
        return text, ALLOW

    async def passages(self, passages: Sequence[Passage]) -> list[Passage]:
        """The passages that may be shown to the model, edited where a policy wants it."""
        kept = list(passages)
        for policy in self._at(Stage.PASSAGE):
            seen, kept = kept, []
            for passage in seen:
                verdict = await self.ask(policy, Stage.PASSAGE, policy.passage, passage, subject=passage.id)
                if verdict.kind in (Kind.ALLOW, Kind.REWRITE):
                    text = verdict.apply(passage.text)
                    kept.append(passage if text == passage.text else _with_text(passage, text))
        return kept

    async def tool_call(self, call: ToolCall) -> Verdict:
        """Whether the tool may run: allow or block; a person is asked where a policy wants it."""
        for policy in self._at(Stage.TOOL_CALL):
            verdict = await self.ask(policy, Stage.TOOL_CALL, policy.tool_call, call, subject=call.name)
            if verdict.kind is Kind.BLOCK:
                return verdict
            if verdict.kind is Kind.ASK and not await self.approved(call, verdict.reason):
                return verdict
        return ALLOW

    async def approved(self, call: ToolCall, reason: str) -> bool:
        """Whether the turn's approver lets `call` run; without one, nobody does."""
        answer = bool(self._approver and await self._approver(call, reason))
        self.record("approver", Stage.TOOL_CALL, "approved" if answer else "refused", reason, call.name)
        return answer

    async def tool_result(self, call: ToolCall, result: ToolResult) -> tuple[str, Verdict]:
        """The result's text as the policies let it pass, and the verdict: allow or block."""
        for policy in self._at(Stage.TOOL_RESULT):
            verdict = await self.ask(policy, Stage.TOOL_RESULT, policy.tool_result, call, result, subject=call.name)
            if verdict.kind in (Kind.BLOCK, Kind.ASK):
                return "", verdict
            if verdict.edits:
                result = replace(result, text=verdict.apply(result.text))
        return result.text, ALLOW

    def release(self) -> Release:
        """The output policies, as a stream."""
        return Release([_Gate(policy, self) for policy in self._at(Stage.OUTPUT)])

    def record(self, policy: str, stage: Stage, kind: str, reason: str, subject: str = "") -> None:
        self.records.append(VerdictRecord(policy, stage.value, kind, reason, subject))

    async def ask(
        self,
        policy: Policy,
        stage: Stage,
        question: Callable[..., Awaitable[Verdict]],
        *about: object,
        subject: str = "",
    ) -> Verdict:
        """One policy's verdict; everything but a plain allow is recorded (edits of a stream by its gate)."""
        try:
            verdict = await within(policy.timeout, question(self.turn, *about))
            if not isinstance(verdict, Verdict):
                raise TypeError(f"answered with {type(verdict).__name__}, not a Verdict")
            if not isinstance(verdict.kind, Kind):
                raise TypeError(f"answered with the verdict {verdict.kind!r}, which is no Kind")
            _check_edits(verdict.edits, about[-1])
        except Exception as error:
            what = "did not answer in time" if isinstance(error, TimeoutError) else f"failed: {type(error).__name__}"
            log.exception("policy %s %s at stage %s; the turn is blocked", policy.name, what, stage.value)
            verdict = Verdict(Kind.BLOCK, f"policy {what}")
        if verdict.kind is not Kind.ALLOW and not (stage is Stage.OUTPUT and verdict.kind is Kind.REWRITE):
            self.record(policy.name, stage, verdict.kind.value, verdict.reason, subject)
        return verdict

    def _at(self, stage: Stage) -> list[Policy]:
        return [policy for policy in self._policies if policy.judges(stage)]


class Release:
    """What may reach the user of a reply that streams: through every output policy, one after the other."""

    def __init__(self, gates: Sequence[_Gate]) -> None:
        self._gates = gates
        self.blocked: Verdict | None = None
        """The verdict that ended the reply, if one did; nothing is released any more."""
        self.text = ""
        """All that was released."""

    async def feed(self, text: str, *, final: bool = False) -> str:
        """Take a further piece of the reply; give back what every policy has cleared by now."""
        for gate in self._gates:
            if self.blocked is not None:
                return ""
            text = await gate.feed(text, final=final)
            self.blocked = gate.blocked
        if self.blocked is not None:
            return ""
        self.text += text
        return text


class _Gate:
    """One output policy and the text that it holds back: exactly `policy.window` characters.

    The policy always sees the whole text so far, so that what it says of a place does not depend on how the
    reply was split; only edits that can no longer change (they end `window` characters before the end) are
    made.
    """

    def __init__(self, policy: Policy, judge: Judge) -> None:
        self._policy = policy
        self._judge = judge
        self._text = ""
        self._released = 0
        self._made: set[tuple[int, int]] = set()
        self.blocked: Verdict | None = None

    async def feed(self, text: str, *, final: bool) -> str:
        self._text += text
        window = self._policy.window
        if not final and (window is None or len(self._text) - self._released <= window):
            return ""
        draft = Draft(self._text, self._released, final)
        verdict = await self._judge.ask(self._policy, Stage.OUTPUT, self._policy.output, draft)
        if verdict.kind in (Kind.BLOCK, Kind.ASK):
            self.blocked = verdict
            return ""
        return self._release(verdict, len(self._text) if final else len(self._text) - (window or 0), final)

    def _release(self, verdict: Verdict, cut: int, final: bool) -> str:
        edits = [edit for edit in verdict.ordered() if (edit.start, edit.end) not in self._made]
        if any(edit.start < self._released for edit in edits):
            return self._late()
        cut = min([cut, *(edit.start for edit in edits if edit.start < cut < edit.end)])
        out: list[str] = []
        at = self._released
        for edit in edits:
            if edit.start < cut or final:
                self._made.add((edit.start, edit.end))
                out += (self._text[at : edit.start], edit.text)
                at = edit.end
        if out:
            self._judge.record(self._policy.name, Stage.OUTPUT, Kind.REWRITE.value, verdict.reason)
        out.append(self._text[at:cut])
        self._released = cut
        return "".join(out)

    def _late(self) -> str:
        reason = "policy wants to edit what was released: its window is too small"
        log.error("policy %s: %s", self._policy.name, reason)
        self.blocked = Verdict(Kind.BLOCK, reason)
        self._judge.record(self._policy.name, Stage.OUTPUT, Kind.BLOCK.value, reason)
        return ""


def _check_edits(edits: Sequence[Edit], about: object) -> None:
    text = about if isinstance(about, str) else getattr(about, "text", None)
    if edits and text is None:
        raise ValueError("edits where there is no text to edit")
    for edit in edits:
        if not 0 <= edit.start <= edit.end <= len(text or ""):
            raise ValueError(f"an edit of characters {edit.start} to {edit.end} in a text of {len(text or '')}")
        if not isinstance(edit.text, str):
            raise TypeError(f"an edit that puts a {type(edit.text).__name__} in the place of text")


def _with_text(passage: Passage, text: str) -> Passage:
    return Passage(
        passage.id, passage.tenant, passage.source, passage.title, text, passage.score, passage.parts, passage.origin
    )
