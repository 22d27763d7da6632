"""What a person is told of a conversation: what was asked and how it ended, in the words that were used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sartor.values import JSONValue, Outcome, Reply

if TYPE_CHECKING:
    from sartor.store import StoredTurn

__all__ = ["summary_of"]

_TURNS = 10
_LONGEST = 300
_ENDED = {
    Outcome.UNKNOWN: "not in the documents",
    Outcome.BLOCKED: "refused by a policy",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "broken off",
    Outcome.SILENT: "passed on",
}


def summary_of(
    earlier: Sequence[StoredTurn], question: str, attributes: Mapping[str, JSONValue], details: Mapping[str, str]
) -> str:
    """A conversation for a person who takes it over. Nothing is in it that was not said or done: no model is asked.

    `details` is what a flow found out, by label. Only the last turns are told, and long texts are cut.
    """
    lines = [f"{label}: {_cut(value)}" for label, value in details.items()]
    lines += [f"{name}: {_cut(str(value))}" for name, value in attributes.items()]
    told = [stored.reply for stored in earlier if stored.reply.turn.text]
    if len(told) > _TURNS:
        lines.append(f"({len(told) - _TURNS} earlier messages)")
    for reply in told[-_TURNS:]:
        lines.append(f"User: {_cut(reply.turn.text)}")
        lines.append(f"Bot: {_ended(reply)}")
    if question:
        lines.append(f"User: {_cut(question)}")
    return "\n".join(lines)


def _ended(reply: Reply) -> str:
    """How a turn ended, in a line."""
    if reply.outcome in _ENDED:
        return f"({_ENDED[reply.outcome]})"
    used = [f"{use.call.name}{' failed' if use.result.error else ''}" for use in reply.tools]
    sources = list(dict.fromkeys(citation.source for citation in reply.citations))
    notes = [*(f"from {source}" for source in sources), *(f"by {name}" for name in dict.fromkeys(used))]
    said = _cut(reply.text)
    return f"{said} ({', '.join(notes)})" if notes else said


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"
