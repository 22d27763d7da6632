"""Sartor: chatbots made to measure, one per customer, on models you own.

::

    async with sartor.open("project") as bots:
        reply = await bots["acme/support"].reply("Where is my order?", user="u-17")

Names are imported when they are first used, so that `import sartor` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sartor.bot import Bot
    from sartor.bots import Bots
    from sartor.bots import open_project as open
    from sartor.errors import SartorError
    from sartor.hookspecs import hookimpl
    from sartor.observing import Observer, Step
    from sartor.plugin import Plugin, PluginSettings
    from sartor.policy import ALLOW, Draft, Edit, Policy, Verdict, ask, block, rewrite
    from sartor.sync import open_sync
    from sartor.tools import Tool, tool
    from sartor.values import (
        BotInfo,
        CallerTool,
        Citation,
        Delta,
        Event,
        Finished,
        Origin,
        Outcome,
        Passage,
        Reply,
        Started,
        ToolCall,
        ToolFinished,
        ToolResult,
        ToolStarted,
        ToolWanted,
        Turn,
        TurnOptions,
        Usage,
    )

__version__ = "0.1.0"

_HOME = {
    "bot": ("Bot",),
    "bots": ("Bots", "open"),
    "errors": ("SartorError",),
    "hookspecs": ("hookimpl",),
    "observing": ("Observer", "Step"),
    "plugin": ("Plugin", "PluginSettings"),
    "policy": ("ALLOW", "Draft", "Edit", "Policy", "Verdict", "ask", "block", "rewrite"),
    "sync": ("open_sync",),
    "tools": ("Tool", "tool"),
    "values": (
        "BotInfo",
        "CallerTool",
        "Citation",
        "Delta",
        "Event",
        "Finished",
        "Origin",
        "Outcome",
        "Passage",
        "Reply",
        "Started",
        "ToolCall",
        "ToolFinished",
        "ToolResult",
        "ToolStarted",
        "ToolWanted",
        "Turn",
        "TurnOptions",
        "Usage",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ALLOW",
    "Bot",
    "BotInfo",
    "Bots",
    "CallerTool",
    "Citation",
    "Delta",
    "Draft",
    "Edit",
    "Event",
    "Finished",
    "Observer",
    "Origin",
    "Outcome",
    "Passage",
    "Plugin",
    "PluginSettings",
    "Policy",
    "Reply",
    "SartorError",
    "Started",
    "Step",
    "Tool",
    "ToolCall",
    "ToolFinished",
    "ToolResult",
    "ToolStarted",
    "ToolWanted",
    "Turn",
    "TurnOptions",
    "Usage",
    "Verdict",
    "__version__",
    "ask",
    "block",
    "hookimpl",
    "open",
    "open_sync",
    "rewrite",
    "tool",
]


def __getattr__(name: str) -> object:
    if name == "asgi":  # the module, for those who write `sartor.asgi.app` after `import sartor`
        return importlib.import_module("sartor.asgi")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sartor' has no attribute {name!r}")
    module = importlib.import_module(f"sartor.{_MODULE_OF[name]}")
    value = getattr(module, "open_project" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
