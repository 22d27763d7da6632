"""Traces of turns, by OpenTelemetry.

::

    observers:
      telemetry: {endpoint: "http://collector:4318/v1/traces"}

A turn is a span ``invoke_agent TENANT/BOT``; below it stand ``retrieval``, ``chat MODEL`` and ``execute_tool TOOL``,
with the names of OpenTelemetry's semantic conventions for generative AI. Texts are in them only with `content`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from opentelemetry import trace
from sartor.observing import Observer
from sartor.plugin import Plugin, PluginSettings, hookimpl

from sartor_plugins.telemetry.providers import provider_for
from sartor_plugins.telemetry.settings import TelemetrySettings
from sartor_plugins.telemetry.tracer import TurnTracer

__all__ = ["TelemetryPlugin"]


class TelemetryPlugin(Plugin):
    """Observes turns and makes spans of them."""

    Settings: ClassVar[type[PluginSettings]] = TelemetrySettings
    hook_versions = "1"

    def __init__(self, settings: TelemetrySettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_observers(self) -> Sequence[Observer]:
        told = self._settings
        own = provider_for(told.endpoint, told.service) if told.endpoint else None
        tracer = own.get_tracer("sartor") if own is not None else trace.get_tracer("sartor")
        return [TurnTracer(tracer, own, content=told.content, continued=told.continued)]
