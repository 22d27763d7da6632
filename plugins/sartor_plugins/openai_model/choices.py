"""`Choices` as a grammar that a server forces a reply into, and the check that it did."""

from __future__ import annotations

import re

from sartor.values import Choices

__all__ = ["fits", "grammar"]

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def grammar(choices: Choices) -> str:
    """GBNF of all replies that `choices` allow. Of several quotes, later ones stand in the order of the texts."""
    rules = [f"t{number} ::= {_literal(text)}" for number, text in enumerate(choices.texts)]
    starts = []
    most = max(1, choices.at_most)
    for number in range(len(choices.texts)):
        quoted = number < choices.quotes and most > 1 and number + 1 < choices.quotes
        starts.append(f"t{number} r{number}x{most - 1}" if quoted else f"t{number}")
    for left in range(1, most):
        for number in range(choices.quotes - 1):
            rules.append(f"r{number}x{left} ::= {_after(number, left, choices.quotes)}")
    return "\n".join([f"root ::= {' | '.join(starts)}", *rules])


def _after(number: int, left: int, quotes: int) -> str:
    options = [
        f"t{other} r{other}x{left - 1}" if left > 1 and other + 1 < quotes else f"t{other}"
        for other in range(number + 1, quotes)
    ]
    return f'(" " ({" | ".join(options)}))?'


def _literal(text: str) -> str:
    def escape(match: re.Match[str]) -> str:
        letter = match.group()
        return _ESCAPES.get(letter) or f"\\U{ord(letter):08X}"

    return '"' + re.sub(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]', escape, text) + '"'


def fits(text: str, choices: Choices) -> bool:
    """Whether `text` is a reply that `choices` allow."""
    return text in choices.texts or _quoted(text, frozenset(choices.texts[: choices.quotes]), choices.at_most)


def _quoted(text: str, left: frozenset[str], most: int) -> bool:
    if most < 1:
        return False
    return text in left or any(
        text.startswith(f"{quote} ") and _quoted(text[len(quote) + 1 :], left - {quote}, most - 1) for quote in left
    )
