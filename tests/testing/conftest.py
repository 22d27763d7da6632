"""The fixtures that users of Sartor are given."""

from __future__ import annotations

from sartor.testing.fixtures import frozen_clock, network_guard, sartor_project, scripted_model

__all__ = ["frozen_clock", "network_guard", "sartor_project", "scripted_model"]
