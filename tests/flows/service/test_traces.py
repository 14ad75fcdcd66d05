"""Traces of requests: whole, in the client's trace, off at no cost, and no answer waits for a collector."""

import io
import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from flows.service.json_log import log_as_json
from flows.settings import Settings
from flows.trace import OFF, UNTRACED
from flows.tracing import tracing
from flows.tracing_config import TracingConfig
from flows.workspace import Workspace
from tests.flows.collectors import Collector, collecting
from tests.flows.receivers import free_port
from tests.flows.service.running import running, wait_for

BODY = {"task": "digit", "inputs": {"text": "siete"}}
THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        yield found


def test_a_request_is_drawn_with_its_parts_in_the_trace_of_its_client(
    ws: Workspace, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our-loop")
    root = logging.getLogger()
    before, stream = (root.handlers[:], root.level), io.StringIO()
    log_as_json("INFO", stream)
    try:
        with running(ws) as (client, _):
            given = {"traceparent": f"00-{THEIRS[0]}-{THEIRS[1]}-01", "X-Request-ID": "mine"}
            said = client.post("/v1/predict", json=BODY, headers=given).json()
            client.get("/health/live")
            client.get("/metrics")
    finally:
        root.handlers[:], root.level = before
    request, predict = collector.one("POST /v1/predict"), collector.one("predict")
    assert {span.trace_id for span in collector.spans} == {THEIRS[0]}
    assert {span.service for span in collector.spans} == {"our-loop"}
    assert (request.parent, predict.parent) == (THEIRS[1], request.id)
    assert request.about == {
        "http.response.status_code": 200,
        "http.route": "/v1/predict",
        "omniloop.request": "mine",
    }
    assert predict.about["omniloop.prediction"] == said["prediction"]
    assert predict.about["omniloop.version"] == said["version"] == 1
    at = predict.began_s
    for name in ("queue", "decode", "encode", "fuse"):
        part = collector.one(name)
        assert part.parent == predict.id
        assert part.began_s == pytest.approx(at, abs=1e-5)
        assert part.ended_s - part.began_s == pytest.approx(said["latency_s"][name], abs=1e-5)
        at = part.ended_s
    assert request.began_s <= predict.began_s + 0.01
    assert predict.ended_s <= request.ended_s
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines() if '"mine"' in line]
    assert (line["request_id"], line["trace_id"]) == ("mine", THEIRS[0])


def test_every_sample_of_a_batch_and_every_refusal_is_drawn(ws: Workspace, collector: Collector) -> None:
    with running(ws) as (client, _):
        assert client.post("/v1/predict/batch", json={"samples": [BODY, BODY]}).status_code == 200
        assert client.post("/v1/predict", json={"task": "none", "inputs": {"text": "x"}}).status_code == 422
        wait_for(lambda: len(collector.spans) == 12, 10)
    batch, refused = collector.one("POST /v1/predict/batch"), collector.one("POST /v1/predict")
    assert [span.parent for span in collector.named("predict")] == [batch.id] * 2
    assert (refused.about["http.response.status_code"], refused.is_error) == (422, False)
    assert refused.trace_id != batch.trace_id


def test_the_ratio_and_the_clients_word_say_what_is_traced(
    ws: Workspace, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_TRACING__RATIO", "0")
    with running(ws.with_(settings=Settings.load())) as (client, _):
        for flags in ("00", "01"):
            client.post("/v1/predict", json=BODY, headers={"traceparent": f"00-{THEIRS[0]}-{THEIRS[1]}-{flags}"})
        client.post("/v1/predict", json=BODY)
        client.post("/v1/predict", json=BODY, headers={"traceparent": "00-no-trace-at-all"})
    assert len(collector.named("POST /v1/predict")) == 1, "the one of which the client said so"


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers"])
def test_a_dead_collector_neither_slows_nor_breaks_answers(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1] if kind == "nobody answers" else free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OMNI_TRACING__TIMEOUT_S", "1")
    monkeypatch.setenv("OMNI_TRACING__MAX_SPANS", "20")
    with silent, running(ws.with_(settings=Settings.load())) as (client, _):
        slowest_s = 0.0
        for _ in range(40):
            began = time.monotonic()
            assert client.post("/v1/predict", json=BODY).status_code == 200
            slowest_s = max(slowest_s, time.monotonic() - began)
        ends = time.monotonic()
    assert slowest_s < 1
    assert time.monotonic() - ends < 5, "the end waits for the collector no longer than it may"


def test_without_an_endpoint_nothing_is_made() -> None:
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}):
        assert tracing(TracingConfig(), environ) is OFF
    assert OFF.begin([(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01")]) is UNTRACED
    assert UNTRACED.id == ""
    with OFF.step("round", {}, trace_id="1") as step:
        assert step is UNTRACED
    began = time.perf_counter()
    for _ in range(10_000):
        OFF.begin([]).end("POST /v1/predict", 200, {})
    assert (time.perf_counter() - began) / 10_000 < 20e-6


def test_another_protocol_is_said_to_be_of_no_use(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert tracing(TracingConfig(), environ) is OFF
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in caplog.text
