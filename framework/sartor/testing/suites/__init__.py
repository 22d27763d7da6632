"""Suites of pytest tests to inherit: one for each kind of plugin, and one for the state database."""

from __future__ import annotations

__all__ = [
    "base",
    "channel",
    "embeddings",
    "index",
    "isolation",
    "model",
    "observer",
    "policy",
    "reader",
    "retriever",
    "store",
    "tool",
]
