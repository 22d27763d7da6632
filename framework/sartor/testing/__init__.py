"""What tests of bots and plugins need: models that say what the test tells them to, and suites to inherit.

A suite is a class of pytest tests for one kind of plugin. Derive from it, name the plugin and give examples::

    from sartor.testing import Call, ToolSuite

    class TestOrders(ToolSuite):
        plugin = OrdersPlugin
        calls = [Call("order_status", {"order_id": "A-1"})]

`StoreSuite` is for no plugin: it holds a state database of yours to what the store promises.

The module `sartor.testing.fixtures` is a plugin of pytest, found by itself where Sartor is installed. Names are
imported when they are first used: suites need pytest, models need LangChain.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sartor.testing.clock import FrozenClock, steady
    from sartor.testing.guard import NetworkGuard
    from sartor.testing.rules import Rule, RuleModel
    from sartor.testing.script import Call, Fail, Say
    from sartor.testing.scripted import ScriptedModel
    from sartor.testing.suites.base import PluginSuite
    from sartor.testing.suites.channel import ChannelSuite
    from sartor.testing.suites.embeddings import EmbeddingsSuite
    from sartor.testing.suites.index import IndexSuite
    from sartor.testing.suites.isolation import IsolationSuite
    from sartor.testing.suites.model import ModelSuite
    from sartor.testing.suites.observer import ObserverSuite
    from sartor.testing.suites.policy import Judged, PolicySuite, allowed, asked, blocked, rewritten
    from sartor.testing.suites.reader import ReaderSuite
    from sartor.testing.suites.retriever import RetrieverSuite
    from sartor.testing.suites.store import StoreSuite
    from sartor.testing.suites.tool import ToolSuite

_HOME = {
    "clock": ("FrozenClock", "steady"),
    "guard": ("NetworkGuard",),
    "rules": ("Rule", "RuleModel"),
    "script": ("Call", "Fail", "Say"),
    "scripted": ("ScriptedModel",),
    "suites.base": ("PluginSuite",),
    "suites.channel": ("ChannelSuite",),
    "suites.embeddings": ("EmbeddingsSuite",),
    "suites.index": ("IndexSuite",),
    "suites.isolation": ("IsolationSuite",),
    "suites.model": ("ModelSuite",),
    "suites.observer": ("ObserverSuite",),
    "suites.policy": ("Judged", "PolicySuite", "allowed", "asked", "blocked", "rewritten"),
    "suites.reader": ("ReaderSuite",),
    "suites.retriever": ("RetrieverSuite",),
    "suites.store": ("StoreSuite",),
    "suites.tool": ("ToolSuite",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Call",
    "ChannelSuite",
    "EmbeddingsSuite",
    "Fail",
    "FrozenClock",
    "IndexSuite",
    "IsolationSuite",
    "Judged",
    "ModelSuite",
    "NetworkGuard",
    "ObserverSuite",
    "PluginSuite",
    "PolicySuite",
    "ReaderSuite",
    "RetrieverSuite",
    "Rule",
    "RuleModel",
    "Say",
    "ScriptedModel",
    "StoreSuite",
    "ToolSuite",
    "allowed",
    "asked",
    "blocked",
    "rewritten",
    "steady",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sartor.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sartor.testing.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
