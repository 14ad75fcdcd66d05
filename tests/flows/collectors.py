"""A real OpenTelemetry collector on loopback, as far as traces go: it takes OTLP over HTTP and keeps the spans."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span as it came over the wire."""

    name: str
    trace_id: str
    id: str
    parent: str
    began_s: float
    ended_s: float
    is_error: bool
    says: str
    about: dict[str, str | int]
    service: str


@dataclass
class Collector:
    """What was sent."""

    port: int
    spans: list[Span] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (found,) = self.named(name)
        return found

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    values = {entry.key: entry.value for entry in span.attributes}
                    self.spans.append(
                        Span(
                            name=span.name,
                            trace_id=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            began_s=span.start_time_unix_nano / NS,
                            ended_s=span.end_time_unix_nano / NS,
                            is_error=span.status.code == 2,
                            says=span.status.message,
                            about={name: value.string_value or value.int_value for name, value in values.items()},
                            service=of["service.name"],
                        )
                    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            collector.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
