"""Samples over HTTP: durable before they are acknowledged, kept once, and a bad one costs no other."""

from typing import Any

import httpx
import pytest

from db.errors import BlobStoreUnavailable
from db.repository import ingests, labels, predictions, samples
from flows.service.live import LiveService
from flows.steps.stored import load_sample
from flows.workspace import Workspace
from omni_model.sample import Sample
from tests.flows.service.running import Process, body_of, told, wait_for


def row(sample: Sample, **more: Any) -> dict[str, Any]:
    return {**body_of(sample), **more}


def stored(ws: Workspace, *ids: str) -> list[str]:
    with ws.database.read() as session:
        return [sample.id for sample in samples.get(session, ids)]


def test_good_rows_are_kept_and_bad_ones_told_and_set_aside(
    client: httpx.Client, ws: Workspace, arriving: list[Sample]
) -> None:
    rows = [
        row(arriving[0], id="mine-1", answer="3", item="i", source="s", time="2026-03-01T12:00:00+02:00"),
        {"task": "digit"},
        row(arriving[1], id="mine-2", answer="eleven"),
        {"task": "digit", "inputs": {"image": {"base64": "aGVsbG8="}}, "id": "mine-3"},
        {"task": "colour", "inputs": {"text": "red"}},
        row(arriving[2], id="mine-4", time="yesterday"),
        {"task": "digit", "inputs": {"image": {"uri": "file:///etc/hostname"}}},
        row(arriving[3], id="mine-5"),
        row(arriving[4], id="mine-1"),
    ]
    response = client.post("/v1/ingest", json={"samples": rows})
    assert response.status_code == 202, response.text
    said = response.json()
    assert [each["state"] for each in said["samples"]] == ["new", *["refused"] * 6, "new", "refused"]
    assert (said["num_new"], said["num_known"], said["num_refused"], said["num_labels"]) == (2, 0, 7, 1)
    for each, part in zip(
        said["samples"],
        ["", "inputs: Field required", "eleven", "image", "colour", "time", "prefix", "", "known with other content"],
        strict=True,
    ):
        assert part in each["reason"]
        assert (each["state"] == "refused") == bool(each["reason"])
    with ws.database.read() as session:
        kept = samples.get(session, ["mine-1", "mine-5"])
        assert [sample.id for sample in kept] == ["mine-1", "mine-5"]
        assert (kept[0].item, kept[0].source, kept[0].time.isoformat()) == ("i", "s", "2026-03-01T10:00:00+00:00")  # type: ignore[union-attr]
        label = labels.active_label(session, "mine-1")
        assert label is not None
        assert label.answer == "3"
        assert len(ingests.list_faults(session)) == 7
    assert set(load_sample(ws, kept[0]).inputs) == set(arriving[0].inputs)


def test_the_same_again_changes_nothing(client: httpx.Client, ws: Workspace, arriving: list[Sample]) -> None:
    body = {"samples": [row(arriving[0], answer="3"), row(arriving[1]), {"task": "digit"}]}
    first, second = client.post("/v1/ingest", json=body), client.post("/v1/ingest", json=body)
    assert (first.status_code, second.status_code) == (202, 200)
    ids = [each["id"] for each in first.json()["samples"]]
    assert [each["id"] for each in second.json()["samples"]] == ids
    assert [each["state"] for each in second.json()["samples"]] == ["known", "known", "refused"]
    assert second.json()["num_labels"] == 0
    with ws.database.read() as session:
        assert len(labels.label_history(session, ids[0])) == 1
        assert len(ingests.list_faults(session)) == 1


def test_a_sample_without_an_id_is_the_one_that_the_log_of_answers_knows(
    service: tuple[httpx.Client, LiveService], ws: Workspace, arriving: list[Sample]
) -> None:
    client, live = service
    for instruction in ("", "Name the digit."):
        body = {**body_of(arriving[0]), "instruction": instruction}
        prediction = client.post("/v1/predict", json=body).json()["prediction"]
        wait_for(lambda: live.log.counts().num_waiting == 0, 10)
        with ws.database.read() as session:
            logged = predictions.get(session, prediction)
        assert logged is not None
        (said,) = client.post("/v1/ingest", json={"samples": [{**body, "answer": "3"}]}).json()["samples"]
        assert (said["id"], said["state"]) == (logged.sample_id, "known")


@pytest.mark.parametrize(
    ("body", "status"),
    [("{", 422), ("[]", 422), ('{"samples": []}', 422), ('{"samples": [1]}', 422), ('{"samples": {}, "more": 1}', 422)],
)
def test_a_body_that_is_none_is_refused(refusing: httpx.Client, body: str, status: int) -> None:
    response = refusing.post("/v1/ingest", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    told(response)


def test_too_many_samples_are_refused_at_once(refusing: httpx.Client) -> None:
    sample = {"task": "digit", "inputs": {"text": "tres"}}
    response = refusing.post("/v1/ingest", json={"samples": [sample] * 65})
    assert response.status_code == 422
    assert "65 samples" in told(response)["value"]


def test_what_cannot_be_stored_is_not_acknowledged(
    client: httpx.Client, ws: Workspace, arriving: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_data: bytes) -> str:
        raise BlobStoreUnavailable("No space is left. Free some.")

    body = {"samples": [row(arriving[0], id="mine-1")]}
    with monkeypatch.context() as patch:
        patch.setattr("db.blobs.BlobStore.put", lambda self, data: full(data))
        response = client.post("/v1/ingest", json=body)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert stored(ws, "mine-1") == []
    assert client.post("/v1/ingest", json=body).status_code == 202


def test_killed_at_once_it_has_lost_and_doubled_nothing_that_was_acknowledged(
    home: Any, arriving: list[Sample]
) -> None:
    from flows.reporter import SILENT
    from flows.settings import Settings
    from flows.workspace import open_workspace

    process = Process(home)
    taken = []
    for number in range(10):
        body = {"samples": [row(arriving[number], id=f"mine-{number}", answer="3")]}
        assert process.client.post("/v1/ingest", json=body).status_code == 202
        taken.append(f"mine-{number}")
    process.kill()
    process = Process(home)
    again = {"samples": [row(arriving[number], id=f"mine-{number}", answer="3") for number in range(10)]}
    assert process.client.post("/v1/ingest", json=again).json()["num_known"] == 10
    process.kill()
    ws = open_workspace(Settings.load(), SILENT)
    assert stored(ws, *taken) == taken
    with ws.database.read() as session:
        assert all(len(labels.label_history(session, id_)) == 1 for id_ in taken)
    ws.database.close()


def test_both_answers_are_documented(refusing: httpx.Client) -> None:
    document = refusing.get("/v1/openapi.json").json()
    assert {"200", "202", "422"} <= set(document["paths"]["/v1/ingest"]["post"]["responses"])
