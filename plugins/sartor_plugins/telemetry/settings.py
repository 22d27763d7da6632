"""What can be set about traces."""

from __future__ import annotations

from pydantic import Field
from sartor.plugin import PluginSettings

__all__ = ["TelemetrySettings"]


class TelemetrySettings(PluginSettings):
    """Settings of the plugin `telemetry`."""

    endpoint: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where spans are sent, by OTLP over HTTP: ``http://collector:4318/v1/traces``. Without it, they go where the host
    application's own tracer provider sends them, and nowhere if it has none."""
    service: str = "sartor"
    """The name of the service in traces, with an `endpoint`; ``OTEL_SERVICE_NAME`` goes before it."""
    content: bool = False
    """Whether spans hold what users, bots, documents and tools said."""
    continued: bool = True
    """Whether a turn joins the trace that its HTTP request names in `traceparent`, where the host application reads
    none. Who may send requests may then choose trace ids, and what is sampled."""
