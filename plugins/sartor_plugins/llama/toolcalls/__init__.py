"""How models write tool calls, and finding calls in a reply while it streams.

A `CallFormat` is a table's row: what stands before and after calls, and the notation between. The families' rows are
in modules of their own; `registry` picks one by what a chat template shows. `CallScanner` reads by them.
"""

from __future__ import annotations

from sartor_plugins.llama.toolcalls.events import BrokenCall, Call, Event, Text
from sartor_plugins.llama.toolcalls.form import CallFormat, function_of, held_back
from sartor_plugins.llama.toolcalls.registry import format_of
from sartor_plugins.llama.toolcalls.scanner import CallScanner

__all__ = ["BrokenCall", "Call", "CallFormat", "CallScanner", "Event", "Text", "format_of", "function_of", "held_back"]
