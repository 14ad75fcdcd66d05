"""Traces of requests and of rounds: off unless the environment names a collector. :mod:`flows.otel` is imported then.

The variables are OpenTelemetry's own: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``),
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SDK_DISABLED``.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flows.trace import OFF, Attribute, Trace, Tracing
from flows.tracing_config import TracingConfig

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OURS = "http/protobuf"


def tracing(config: TracingConfig, environ: Mapping[str, str] | None = None) -> Tracing:
    """What traces, by the environment: :data:`OFF` without an endpoint. Close it at the end."""
    known = os.environ if environ is None else environ
    if not any(known.get(name) for name in ENDPOINTS) or known.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return OFF
    protocol = next((known[name] for name in PROTOCOLS if known.get(name)), OURS)
    if protocol != OURS:
        logger.error(
            "No traces are sent: OTLP goes out as %s, not as %s. Set %s=%s.", OURS, protocol, PROTOCOLS[1], OURS
        )
        return OFF
    from flows.otel import OtlpTracing

    return OtlpTracing(config)


@contextmanager
def traced(config: TracingConfig, name: str, attributes: Mapping[str, Attribute] | None = None) -> Iterator[Trace]:
    """The block as a trace of its own, sent when it ends."""
    traces = tracing(config)
    try:
        with traces.step(name, attributes or {}) as trace:
            yield trace
    finally:
        traces.close()
