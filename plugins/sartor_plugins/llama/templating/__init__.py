"""Chat templates from files of strangers: what of Jinja they may use, and how much of it.

A template is read into Jinja's syntax tree. Only the kinds of nodes, filters, tests, functions and methods that are
listed in `allowed` are let through. The tree is then rewritten so that everything that can take long or become large
is counted against one budget before it happens: each turn of a loop and each call of a macro by the size of its body,
each operator, filter, test and call by the size of what goes in and comes out. When the budget or the time is used
up, the rendering ends with `TemplateExhausted`.

It imports Jinja and the standard library only, and by relative names: `child` runs it in a process of its own, which
starts fast because it imports nothing else of Sartor.
"""

from __future__ import annotations

from .budget import TemplateExhausted, TemplateRefused
from .sandbox import Sandbox

__all__ = ["Sandbox", "TemplateExhausted", "TemplateRefused"]
