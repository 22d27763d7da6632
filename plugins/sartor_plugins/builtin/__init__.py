"""Where the small model that ships with Sartor lies."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODEL"]

MODEL = Path(__file__).with_name("sartor-mini.gguf")
"""The built-in chat model, as a GGUF file."""
