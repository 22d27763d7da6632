"""Where spans go: to the host's tracer provider, or to a collector of our own choice."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import cast

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from sartor.errors import PluginError

__all__ = ["provider_for"]

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_PACKAGE = "opentelemetry-exporter-otlp-proto-http"


def provider_for(endpoint: str, service: str) -> TracerProvider:
    """A provider that sends spans to `endpoint` in batches. Raises `PluginError` where the exporter is missing."""
    try:
        make = cast("Callable[..., SpanExporter]", import_module(_EXPORTER).OTLPSpanExporter)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"plugin 'telemetry': `endpoint` needs the package {_PACKAGE}, which is not installed",
            remedy=f"pip install {_PACKAGE}",
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(make(endpoint=endpoint)))
    return provider
