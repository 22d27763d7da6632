"""What a model said in mode `quote`, settled: kept where sources say it, put in their own words where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.grounding import Quotable, readable, tells, unsupported
from sartor.values import Citation, Outcome, ToolUse

__all__ = ["Settled", "settle_phrase", "settle_quotes"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The text that may go on to the output policies, and what follows for the turn."""

    text: str
    citations: tuple[Citation, ...] = ()
    outcome: Outcome = Outcome.ANSWERED
    error: str = ""


def settle_quotes(quotes: Quotable, said: str, unknown: str) -> Settled:
    """`said` if it consists of sources only, else `unknown`, the bot's way to say that it does not know."""
    found = quotes.read(said)
    if found is None or not found.known:
        return Settled(unknown, outcome=Outcome.UNKNOWN)
    return Settled(found.text, found.citations)


def settle_phrase(said: str, uses: Sequence[ToolUse], told: Sequence[str], *, verbatim: bool, failed: str) -> Settled:
    """What the model made of tool results, if it tells of them and every figure and name in it has a source (a
    result, or one of `told`); else the results themselves, and `failed` where no tool gave any."""
    good = [use.result.text for use in uses if not use.result.error]
    results = [use.result.text for use in uses]
    if not good:  # what a tool's error says is for the model and the operator
        return Settled(failed, outcome=Outcome.FAILED, error=results[-1])
    if verbatim or not tells(said, good) or unsupported(said, [*results, *told]):
        return Settled("\n".join(map(readable, good)))
    return Settled(said.strip())
