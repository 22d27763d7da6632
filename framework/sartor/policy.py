"""What a policy is: an object that is asked at each stage of a turn and answers with a verdict.

A policy overrides the methods of the stages that it cares for; the others are never called. It sees the text
of one turn of one tenant. If it raises or does not answer within `timeout`, the turn is blocked: policies
fail closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sartor.values import Passage, ToolCall, ToolResult, Turn

__all__ = ["ALLOW", "Draft", "Edit", "Kind", "Policy", "Stage", "Verdict", "ask", "block", "rewrite"]


class Stage(StrEnum):
    """Where in a turn a policy is asked; the values are the names of its methods."""

    INPUT = "input"
    PASSAGE = "passage"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    OUTPUT = "output"


class Kind(StrEnum):
    """What a verdict says."""

    ALLOW = "allow"
    REWRITE = "rewrite"
    BLOCK = "block"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters `start` to `end` (exclusive, counted in the text that was judged) by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A policy's answer. Make it with `ALLOW`, `rewrite`, `block` or `ask`."""

    kind: Kind
    reason: str = ""
    """Why, for the operator's audit; it may name a rule but never repeats the text."""
    message: str = ""
    """What the user is told when the turn is blocked; empty: the bot's own `replies.blocked`."""
    edits: tuple[Edit, ...] = ()

    def apply(self, text: str) -> str:
        """`text` with the edits made; edits that overlap are made from the left, the later one dropped."""
        out: list[str] = []
        at = 0
        for edit in self.ordered():
            out += (text[at : edit.start], edit.text)
            at = edit.end
        return "".join(out) + text[at:]

    def ordered(self) -> Sequence[Edit]:
        """The edits that are made, from the left. Where several overlap, all that they cover is replaced by the
        text of the first."""
        made: list[Edit] = []
        for edit in sorted(self.edits, key=lambda edit: (edit.start, edit.end)):
            if made and edit.start < made[-1].end:
                made[-1] = Edit(made[-1].start, max(made[-1].end, edit.end), made[-1].text)
            else:
                made.append(edit)
        return made


ALLOW = Verdict(Kind.ALLOW)


def rewrite(edits: Sequence[Edit], reason: str = "") -> Verdict:
    """Let the text pass with these edits made; `ALLOW` where there are none."""
    return Verdict(Kind.REWRITE, reason, edits=tuple(edits)) if edits else ALLOW


def block(reason: str, message: str = "") -> Verdict:
    """Let nothing more pass. A blocked passage is left out; at every other stage the turn ends."""
    return Verdict(Kind.BLOCK, reason, message)


def ask(reason: str, message: str = "") -> Verdict:
    """A person must approve. At the tool-call stage the approver of the turn is asked; elsewhere, or where the
    turn has no approver, it blocks."""
    return Verdict(Kind.ASK, reason, message)


@dataclass(frozen=True, slots=True)
class Draft:
    """The reply so far, as an output policy sees it while it streams."""

    text: str
    """Everything that reached this policy, from the reply's first character."""
    released: int
    """So many characters of `text` have gone on already and can no longer be edited."""
    final: bool
    """Whether the reply is complete."""


class Policy:
    """Base of all policies. Override the stages that matter.

    `window` says how many characters an output policy must see beyond a place to be sure of it: the longest
    text that it could want to edit. Exactly that much of a streaming reply is held back. ``None`` (the
    default) holds the whole reply back until it is complete.
    """

    name: str = ""
    """Shown in verdicts and audit; the plugin's name when empty."""
    window: int | None = None
    timeout: float = 5.0
    """Seconds that one question may take, after which the turn is blocked."""

    async def input(self, turn: Turn, text: str) -> Verdict:
        """The user's message, before anything else sees it."""
        return ALLOW

    async def passage(self, turn: Turn, passage: Passage) -> Verdict:
        """One retrieved passage; `block` leaves it out, edits are to its text."""
        return ALLOW

    async def tool_call(self, turn: Turn, call: ToolCall) -> Verdict:
        """A call that the model wants; `call.origins` tells whose text each argument is from. No edits."""
        return ALLOW

    async def tool_result(self, turn: Turn, call: ToolCall, result: ToolResult) -> Verdict:
        """What a tool returned; edits are to `result.text`."""
        return ALLOW

    async def output(self, turn: Turn, draft: Draft) -> Verdict:
        """The reply as it grows. Edits count from the start of `draft.text`. Those that were made already are
        passed over; any other edit of what lies before `draft.released` comes too late (the window is too small)
        and blocks."""
        return ALLOW

    def judges(self, stage: Stage) -> bool:
        """Whether this policy overrides the method of `stage`."""
        return getattr(type(self), stage.value) is not getattr(Policy, stage.value)
