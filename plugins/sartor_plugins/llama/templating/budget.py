"""How much a rendering may do, and what ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from jinja2.runtime import Undefined

__all__ = ["LONGEST_TEXT", "Budget", "TemplateExhausted", "TemplateRefused"]

LONGEST_TEXT = 500_000
"""Characters of a text that a template makes. The texts of messages are not among them: `Veil` hides them."""
_WORK = 3_000_000
_LOOK = 1_000
"""Work between two looks at the clock."""
_SECONDS = 2.0


class TemplateRefused(Exception):
    """A template does something that is not let through, or too much of it."""


class TemplateExhausted(TemplateRefused):
    """A template does too much: in any other form of the conversation it will, too."""


class Budget(threading.local):
    """What is left to the rendering that this thread does."""

    left = 0
    look = 0
    until = 0.0
    depth = 0

    def start(self) -> None:
        self.left, self.until, self.depth = _WORK, time.monotonic() + _SECONDS, 0
        self.look = _WORK - _LOOK

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < self.look:
            self.look = self.left - _LOOK
            if self.left < 0:
                raise TemplateExhausted("it does too much")
            if time.monotonic() > self.until:
                raise TemplateExhausted("it takes too long")

    def weigh(self, value: object) -> None:
        """Spend what `value` holds, counting what occurs twice twice, as its text would."""
        stack = [value]
        while stack:
            each = stack.pop()
            if isinstance(each, str):
                if len(each) > LONGEST_TEXT:
                    raise TemplateRefused("it makes a text that is too long")
                self.spend(1 + len(each) // 16)
            elif isinstance(each, Mapping):
                self.spend(1 + len(each))
                stack.extend(each)
                stack.extend(each.values())
            elif isinstance(each, list | tuple):
                self.spend(1 + len(each))
                stack.extend(each)
            elif each is None or isinstance(each, int | float | Undefined):
                self.spend(1)
            else:
                raise TemplateRefused(f"it uses a {type(each).__name__} as a value")

    def text(self, value: object) -> str:
        """`value` as a text."""
        self.weigh(value)
        return str(value)
