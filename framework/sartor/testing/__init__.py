"""What tests of bots and plugins need: a model that says what the test tells it to."""

from __future__ import annotations

from sartor.testing.scripted import Call, ScriptedModel

__all__ = ["Call", "ScriptedModel"]
