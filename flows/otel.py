"""Traces sent to an OpenTelemetry collector by OTLP over HTTP. The only file that imports OpenTelemetry.

A request's parts are known from its answer, so their spans are made of the answer's own times after it was sent;
nothing is measured twice. Spans wait in a bounded queue for a thread of their own: a collector that is slow or gone
costs spans, never answers. No global provider is set, so what other libraries trace stays theirs.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flows.trace import Attribute, Headers, Trace, Tracing
from flows.tracing_config import TracingConfig
from omni_model.serve.exchange import Answer

PARTS = ("queue", "decode", "encode", "fuse")
NS = 1_000_000_000
SPOKEN = "opentelemetry"
"""Logger of the library, which tells every failed attempt."""

_PROPAGATOR = TraceContextTextMapPropagator()


class OtlpTracing(Tracing):
    """Traces requests at the ratio, and every round. Ends its thread in `close`."""

    def __init__(self, config: TracingConfig) -> None:
        logging.getLogger(SPOKEN).setLevel(logging.ERROR)
        ours = {"service.name": "omniloop", "service.version": version("omniloop")}
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.ratio)),
            resource=Resource(ours).merge(OTELResourceDetector().detect()),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._always = TracerProvider(
            sampler=ALWAYS_ON, resource=self._provider.resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(timeout=config.timeout_s),
            max_queue_size=config.max_spans,
            max_export_batch_size=min(512, config.max_spans),
            schedule_delay_millis=1000,
        )
        self._timeout_s = config.timeout_s
        self._provider.add_span_processor(self._processor)
        self._always.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("omniloop")
        self._steps = self._always.get_tracer("omniloop")
        self._open: list[api.Span] = []

    def begin(self, headers: Headers) -> Trace:
        """Go on with the trace that the client names in `traceparent`, or begin one."""
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name[:5] == b"trace"}
        above = _PROPAGATOR.extract(given, Context()) if given else Context()
        return RequestTrace(self._tracer, self._tracer.start_span("request", above, api.SpanKind.SERVER))

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Attribute], *, trace_id: str = "") -> Iterator[Trace]:
        """A span of a round; an error is told by its type alone, because its message may quote what it failed on."""
        above = api.set_span_in_context(self._open[-1], Context()) if self._open else Context()
        self._ids.wanted = int(trace_id, 16) if trace_id else 0
        span = self._steps.start_span(name, above, attributes=attributes)
        self._open.append(span)
        try:
            yield StepTrace(span)
        except BaseException as error:
            span.set_status(api.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            self._open.pop()
            span.end()

    def close(self) -> None:
        """Send what waits, and end the thread; what a dead collector has not taken in time is lost."""
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(self._timeout_s)


class RequestTrace(Trace):
    """One request on its way, from the door to the door."""

    def __init__(self, tracer: api.Tracer, span: api.Span) -> None:
        self._tracer, self._span = tracer, span
        self._answers: list[tuple[Answer, int]] = []
        self.id = api.format_trace_id(span.get_span_context().trace_id)

    def answered(self, answer: Answer) -> None:
        """Keep it, with the time it came at."""
        if self._span.is_recording():
            self._answers.append((answer, time.time_ns()))

    def end(self, name: str, status: int, attributes: Mapping[str, Attribute]) -> None:
        """Make the spans of the request's parts."""
        span = self._span
        if not span.is_recording():
            return
        for answer, at in self._answers:
            self._parts(answer, at)
        span.update_name(name)
        span.set_attributes({"http.response.status_code": status, **attributes})
        if status >= 500:
            span.set_status(api.StatusCode.ERROR)
        span.end()

    def _parts(self, answer: Answer, ended: int) -> None:
        """`predict` with its parts one after the other; waiting is drawn first, though some of it came in between."""
        began = ended - int(answer.latency.total_s * NS)
        above = api.set_span_in_context(self._span, Context())
        about: dict[str, Attribute] = {
            "omniloop.prediction": answer.id,
            "omniloop.version": answer.version,
            "omniloop.task": answer.task,
            "omniloop.modalities": "+".join(sorted(answer.used)),
        }
        whole = self._tracer.start_span("predict", above, attributes=about, start_time=began)
        within = api.set_span_in_context(whole, Context())
        for part in PARTS:
            until = began + int(getattr(answer.latency, f"{part}_s") * NS)
            self._tracer.start_span(part, within, start_time=began).end(until)
            began = until
        whole.end(ended)


class StepTrace(Trace):
    """A part of a round."""

    def __init__(self, span: api.Span) -> None:
        self._span = span
        self.id = api.format_trace_id(span.get_span_context().trace_id)

    def tell(self, attributes: Mapping[str, Attribute]) -> None:
        """Attributes that are known later."""
        self._span.set_attributes(attributes)


class _Ids(RandomIdGenerator):
    """Random ids, and once a trace id that was asked for."""

    wanted = 0

    def generate_trace_id(self) -> int:
        """The one that is wanted, or a random one."""
        wanted, self.wanted = self.wanted, 0
        return wanted or super().generate_trace_id()
