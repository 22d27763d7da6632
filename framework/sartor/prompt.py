"""The prompt of a turn: messages made of parts, each with its origin.

The stable part comes first, so that its computation can be shared: instructions (and, through the model's own
template, the tools), then the history, then the passages and the question. The question stands before the
passages and after them: a model that reads them knowing what is asked finds the answer more often (Liu et
al., "Lost in the Middle", 2023, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.values import Exchange, Message, Origin, Part, Passage, ToolUse, Turn

__all__ = ["Persona", "after_tools", "compose", "spoken", "user_parts"]

_QUOTE = (
    "Answer with one sentence of the passages, word for word, and its number in brackets. "
    "If the passages do not answer the question, say: "
)
_QUOTES = (
    "Answer with at most {count} sentences of the passages, word for word, each with its number in brackets. "
    "If the passages do not answer the question, say: "
)
_OPENED = "(The user opened the chat.)"
"""Stands for the message that there was not, where the bot spoke first: many models want the roles to alternate."""
_FREE = (
    "Answer from the passages and give the number of each passage that you use in brackets. "
    "If the passages do not answer the question, say: "
)


@dataclass(frozen=True)
class Persona:
    """What a bot is told about itself in one language, for one audience."""

    instructions: tuple[Part, ...]
    greeting: str
    unknown: str
    quotes: int
    """How many sentences a reply may quote; 0: the model writes freely."""
    origin: Origin = Origin.TENANT
    """Whose words `greeting` and `unknown` are."""


def compose(persona: Persona, turn: Turn, history: Sequence[Exchange], passages: Sequence[Passage]) -> list[Message]:
    """The messages for `turn`, from the system's to the user's."""
    messages = [Message("system", _system(persona))]
    for exchange in history:
        asked = Part(exchange.question, Origin.USER) if exchange.question else Part(_OPENED, Origin.OPERATOR)
        messages.append(Message("user", (asked,)))
        origin = Origin.TENANT if exchange.author else Origin.MODEL
        messages.append(Message("assistant", (Part(exchange.reply, origin),)))
    messages.append(Message("user", user_parts(turn.text, passages)))
    return messages


def spoken(stored: Sequence[Exchange]) -> list[Exchange]:
    """What was said on both sides. Messages that the bot left to a person stand together before the person's answer."""
    said: list[Exchange] = []
    unanswered: list[str] = []
    for exchange in stored:
        if exchange.author:
            question = "\n".join([*unanswered, *([exchange.question] if exchange.question else [])])
            said.append(Exchange(question, exchange.reply, exchange.author))
        elif exchange.question and exchange.reply:
            said.append(exchange)
        unanswered = [*unanswered, exchange.question] if exchange.question and not exchange.reply else []
    return said


def user_parts(question: str, passages: Sequence[Passage]) -> tuple[Part, ...]:
    """The user's message: the question alone, or around numbered passages."""
    if not passages:
        return (Part(question, Origin.USER),)
    asked = (Part("Question: ", Origin.OPERATOR), Part(question, Origin.USER))
    parts = [*asked, Part("\n\nPassages:\n", Origin.OPERATOR)]
    for number, passage in enumerate(passages, start=1):
        parts.append(Part(f"[{number}] ", Origin.OPERATOR))
        parts.append(Part(f"{passage.title}\n{passage.text}", passage.origin))
        parts.append(Part("\n\n", Origin.OPERATOR))
    return (*parts, *asked)


def after_tools(messages: Sequence[Message], said: str, uses: Sequence[ToolUse]) -> list[Message]:
    """`messages` with what the model said, the calls that it made, and their results."""
    parts = (Part(said, Origin.MODEL),) if said else ()
    calls = tuple(use.call for use in uses)
    results = [Message("tool", (Part(use.result.text, Origin.TOOL),), call=use.call.id) for use in uses]
    return [*messages, Message("assistant", parts, calls=calls), *results]


def _system(persona: Persona) -> tuple[Part, ...]:
    parts: list[Part] = []
    for at, paragraph in enumerate(persona.instructions):
        if at:
            parts.append(Part("\n", Origin.OPERATOR, public=paragraph.public))
        parts.append(paragraph)
    if parts:
        parts.append(Part("\n\n", Origin.OPERATOR))
    if persona.greeting:
        parts.append(Part("If the user greets you, answer: ", Origin.OPERATOR))
        parts.append(Part(persona.greeting, persona.origin))
        parts.append(Part("\n", Origin.OPERATOR))
    rule = _FREE if not persona.quotes else _QUOTE if persona.quotes == 1 else _QUOTES.format(count=persona.quotes)
    parts.append(Part(rule, Origin.OPERATOR))
    parts.append(Part(persona.unknown, persona.origin))
    return tuple(parts)
