"""Traces of requests and of rounds: off unless the environment names a collector, and then it is an object that does
nothing. :mod:`flows.otel` is the other object, imported when it is needed.

The variables are OpenTelemetry's own: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``),
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SDK_DISABLED``.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.tracing_config import TracingConfig

if TYPE_CHECKING:
    from omni_model.serve.exchange import Answer

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OURS = "http/protobuf"

Headers = Iterable[tuple[bytes, bytes]]
Attribute = str | int | float | bool


class Trace:
    """One request, or one part of a round, that is not traced."""

    id = ""
    """Id of the trace, 32 hexadecimal digits; empty: there is none."""

    def answered(self, answer: "Answer") -> None:
        """Take note of an answer just given; nothing is made of it before :meth:`end`."""

    def tell(self, attributes: Mapping[str, Attribute]) -> None:
        """Say more of it."""

    def end(self, name: str, status: int, attributes: Mapping[str, Attribute]) -> None:
        """The request was answered, with this HTTP status."""


UNTRACED = Trace()


class Tracing:
    """Traces nothing."""

    def begin(self, headers: Headers) -> Trace:
        """A request came in, with these headers."""
        return UNTRACED

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Attribute], *, trace_id: str = "") -> Iterator[Trace]:
        """A span as long as the block; one inside another is its child. The outermost may name its trace."""
        yield UNTRACED

    def close(self) -> None:
        """Send what waits, as long as that takes no longer than `tracing.timeout_s`."""


OFF = Tracing()


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
