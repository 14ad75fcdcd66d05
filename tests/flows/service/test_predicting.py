"""Predictions over HTTP: the same answers as `predict`, logged with their samples, and feedback on them."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from db.repository import feedback, predictions, samples
from flows.service.live import LiveService
from flows.service.metrics import Metrics
from flows.steps.models import load_version
from flows.steps.stored import load_sample
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.evaluate import predict
from omni_model.sample import Sample
from tests.flows.service.running import body_of, running, told, wait_for


def decoded(sample: Sample) -> Sample:
    """The sample after a journey through its codecs, which round audio."""
    inputs = {name: CODECS[name].decode(CODECS[name].encode(value)) for name, value in sample.inputs.items()}
    return Sample(id=sample.id, task=sample.task, instruction=sample.instruction, inputs=inputs)


def only(sample: Sample, number: int) -> Sample:
    """The sample with one of its mixes of modalities."""
    names = [name for bit, name in enumerate(sorted(sample.inputs)) if (number % 7 + 1) >> bit & 1]
    kept = {name: sample.inputs[name] for name in names or sample.inputs}
    return Sample(id=sample.id, task=sample.task, instruction=sample.instruction, inputs=kept, domain="live")


def test_what_a_budget_leaves_out_and_what_devices_did_is_counted(client: httpx.Client, arriving: list[Sample]) -> None:
    whole = next(sample for sample in arriving if len(sample.inputs) == 3)
    answer = client.post("/v1/predict", json=body_of(whole, budget=0.1)).json()
    assert answer["modalities"]["used"] == ["text"]
    text = client.get("/metrics").text
    assert 'omniloop_ignored_inputs_total{modality="image"} 1.0' in text
    assert 'omniloop_ignored_inputs_total{modality="audio"} 1.0' in text
    assert 'omniloop_ignored_inputs_total{modality="text"}' not in text
    encoded = next(
        line for line in text.splitlines() if line.startswith('omniloop_device_encoded_values_total{device="cpu"}')
    )
    assert float(encoded.split()[1]) > 0


def test_two_hundred_mixed_requests_at_once_are_answered_as_predict_does_and_logged(
    service: tuple[httpx.Client, LiveService], ws: Workspace, arriving: list[Sample]
) -> None:
    client, live = service
    mixed = [only(arriving[number % len(arriving)], number) for number in range(200)]
    with ThreadPoolExecutor(16) as clients:
        responses = list(clients.map(lambda sample: client.post("/v1/predict", json=body_of(sample)), mixed))
    assert not [response.text for response in responses if response.status_code != 200]
    said = [response.json() for response in responses]
    expected = predict(load_version(ws, 1), [decoded(sample) for sample in mixed])
    for row, answer in enumerate(said):
        given = [answer["probabilities"][name] for name in expected.answers]
        np.testing.assert_allclose(given, expected.probs[row], atol=1e-3)
        assert answer["probability"] == max(given)
        assert answer["modalities"]["used"] == sorted(mixed[row].inputs)
        assert answer["version"] == 1

    wait_for(lambda: live.log.counts().num_waiting == 0, 20)
    assert live.log.counts().num_written == 200
    with ws.database.read() as session:
        logged = [predictions.get(session, answer["prediction"]) for answer in said]
        stored = {row.id: row for row in samples.get(session, [row.sample_id or "" for row in logged if row])}
    for kept, answer, sample in zip(logged, said, mixed, strict=True):
        assert kept is not None
        assert (kept.answer, kept.version, kept.domain) == (answer["answer"], 1, "live")
        again = load_sample(ws, stored[kept.sample_id or ""])
        assert set(again.inputs) == set(sample.inputs)
        assert again.inputs.get("text") == sample.inputs.get("text")


def test_the_same_content_is_the_same_sample(
    service: tuple[httpx.Client, LiveService], ws: Workspace, arriving: list[Sample]
) -> None:
    client, live = service
    ids = [client.post("/v1/predict", json=body_of(arriving[0])).json()["prediction"] for _ in range(2)]
    assert ids[0] != ids[1]
    wait_for(lambda: live.log.counts().num_waiting == 0, 10)
    with ws.database.read() as session:
        rows = [predictions.get(session, id_) for id_ in ids]
    assert len({row.sample_id for row in rows if row}) == 1
    assert live.engine.counts().cache.num_hits > 0


def test_a_multipart_form_gets_the_answer_of_its_json(client: httpx.Client, arriving: list[Sample]) -> None:
    sample = next(sample for sample in arriving if len(sample.inputs) == 3)
    files = {name: (f"{name}.bin", CODECS[name].encode(sample.inputs[name])) for name in ("image", "audio")}
    fields = {
        "task": sample.task,
        "text": str(sample.inputs["text"]),
        "instruction": sample.instruction,
        "deadline_s": "5",
    }
    form = client.post("/v1/predict", data=fields, files=files)
    assert form.status_code == 200, form.text
    assert form.json()["probabilities"] == client.post("/v1/predict", json=body_of(sample)).json()["probabilities"]


def test_in_a_batch_each_sample_is_answered_or_refused_by_itself(client: httpx.Client, arriving: list[Sample]) -> None:
    bad = {"task": "colour", "inputs": {"text": "red"}}
    response = client.post("/v1/predict/batch", json={"samples": [body_of(arriving[0]), bad, body_of(arriving[1])]})
    assert response.status_code == 200
    first, refused, last = response.json()["predictions"]
    assert first["version"] == last["version"] == 1
    assert "knows no task 'colour'" in refused["fact"]
    assert refused["mend"] == "Name one of them."


def test_feedback_right_after_the_answer_is_stored_once_and_the_first_counts(
    client: httpx.Client, ws: Workspace, arriving: list[Sample]
) -> None:
    id_ = client.post("/v1/predict", json=body_of(arriving[0])).json()["prediction"]
    say = {"prediction": id_, "answer": "3", "who": "ann"}
    assert client.post("/v1/feedback", json=say).json() == {"prediction": id_, "new": True}
    assert client.post("/v1/feedback", json=say).json() == {"prediction": id_, "new": False}
    other = client.post("/v1/feedback", json={**say, "answer": "4"})
    assert other.status_code == 409
    assert "the first one counts" in told(other)["fact"]
    with ws.database.read() as session:
        kept = feedback.get(session, id_)
    assert kept is not None
    assert (kept.answer, kept.origin) == ("3", "human:ann")


def test_feedback_on_nothing_or_outside_the_answers_is_refused(client: httpx.Client, arriving: list[Sample]) -> None:
    unknown = client.post("/v1/feedback", json={"prediction": "none", "answer": "3"})
    assert unknown.status_code == 404
    assert "no prediction 'none'" in told(unknown)["fact"]
    id_ = client.post("/v1/predict", json=body_of(arriving[0])).json()["prediction"]
    outside = client.post("/v1/feedback", json={"prediction": id_, "answer": "eleven"})
    assert outside.status_code == 422
    assert "eleven" in told(outside)["fact"]


def test_what_the_service_says_of_itself(client: httpx.Client, arriving: list[Sample]) -> None:
    client.post("/v1/predict", json=body_of(arriving[0]), headers={"X-Request-ID": "mine-1"})
    versions = client.get("/v1/versions").json()
    assert versions["answering"] == 1
    assert versions["refused"] == ""
    (first,) = versions["versions"]
    assert (first["state"], first["in_service"], first["answering"], first["warm"]) == ("accepted", True, True, True)
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/started").status_code == 200
    assert client.get("/health/ready").json()["version"] == 1
    figures = client.get("/metrics").text
    for line in (
        'omniloop_predictions_total{task="digit",version="1"} 1.0',
        'omniloop_requests_total{route="/v1/predict",status="200"} 1.0',
        "omniloop_version 1.0",
        "omniloop_log_dropped_total 0.0",
        'omniloop_latency_seconds_count{part="fuse"} 1.0',
    ):
        assert line in figures


def test_the_openapi_document_names_every_body_and_resolves(client: httpx.Client) -> None:
    document = client.get("/v1/openapi.json").json()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [
                *([node["$ref"]] if "$ref" in node else []),
                *(ref for each in node.values() for ref in references(each)),
            ]
        return [ref for each in node for ref in references(each)] if isinstance(node, list) else []

    schemas = document["components"]["schemas"]
    assert {ref.rsplit("/", 1)[1] for ref in references(document)} <= set(schemas)
    assert {"PredictIn", "BatchIn", "FeedbackIn", "PredictOut", "ErrorOut"} <= set(schemas)
    assert '"$defs"' not in json.dumps(document)


def test_a_full_log_drops_and_counts_but_answers(
    ws: Workspace, arriving: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(ws) as (client, live):
        with ws.database.write():  # nobody else writes meanwhile
            live.log._max_rows = 3
            said = [client.post("/v1/predict", json=body_of(sample)) for sample in arriving[:8]]
        assert all(answer.status_code == 200 for answer in said)
        wait_for(lambda: live.log.counts().num_waiting == 0, 10)
        counts = live.log.counts()
        assert (counts.num_written, counts.num_dropped) == (3, 5)
        lost = client.post("/v1/feedback", json={"prediction": said[-1].json()["prediction"], "answer": "1"})
        assert lost.status_code == 404


def test_registries_of_two_services_do_not_meet() -> None:
    one, other = Metrics(list), Metrics(list)
    one.swaps.inc()
    assert b"omniloop_swaps_total 1.0" in one.text()
    assert b"omniloop_swaps_total 0.0" in other.text()
