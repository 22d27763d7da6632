"""Suites of pytest tests that plugins inherit, one for each kind."""

from __future__ import annotations

__all__: list[str] = []
