"""The API that OpenAI's clients speak."""

from __future__ import annotations

__all__ = ()
