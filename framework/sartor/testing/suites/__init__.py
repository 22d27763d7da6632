"""Suites of pytest tests that plugins inherit, one for each kind."""

from __future__ import annotations

__all__ = ["base", "channel", "embeddings", "index", "isolation", "model", "policy", "reader", "retriever", "tool"]
