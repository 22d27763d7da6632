"""The API of conversations and turns, for programs and for the widget."""

from __future__ import annotations

__all__ = ()
