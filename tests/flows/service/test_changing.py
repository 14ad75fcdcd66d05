"""Promotions and rollbacks in the database change what is answered, without one failed request."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from db.repository import alerts, versions
from flows.reporter import SILENT
from flows.service.live import LiveService
from flows.settings import Settings
from flows.steps.watching import watch_probation
from flows.up import answers
from flows.workspace import Workspace, open_workspace
from omni_model.sample import Sample
from tests.flows.service.running import add_version, body_of, promote, roll_back, running, told, wait_for

Service = tuple[httpx.Client, LiveService]


def test_promotion_and_rollback_reach_traffic_within_seconds(service: Service, ws: Workspace, tmp_path: Path) -> None:
    client, live = service
    version = add_version(ws, tmp_path, 1).version

    def answering() -> Any:
        return client.post("/v1/predict", json={"task": "digit", "inputs": {"text": "tres"}}).json()["version"]

    assert answering() == 1
    promote(ws, version)
    assert wait_for(lambda: answering() == version, 10) < 4  # the new version is loaded
    assert live.engine.warm_versions == (1, version)
    roll_back(ws, version)
    assert wait_for(lambda: answering() == 1, 10) < 2  # the old one is still warm


def test_ten_changes_under_load_fail_no_request_and_answer_with_what_is_in_service(
    service: Service, ws: Workspace, tmp_path: Path, arriving: list[Sample]
) -> None:
    client, live = service
    candidates = [add_version(ws, tmp_path, seed).version for seed in range(5)]
    bodies = [body_of(sample) for sample in arriving[:20]]
    terms: list[tuple[int, float, float]] = []  # a version, when the database named it, when the next one took over
    named = time.monotonic()
    stop = threading.Event()

    def ask(number: int) -> list[tuple[float, float, int, int]]:
        seen: list[tuple[float, float, int, int]] = []
        while not stop.is_set():
            began = time.monotonic()
            response = client.post("/v1/predict", json=bodies[(number + len(seen)) % len(bodies)])
            assert response.status_code == 200, response.text
            said = response.json()
            seen.append((began, time.monotonic(), said["version"], said["generation"]))
        return seen

    with ThreadPoolExecutor(16) as clients:
        running_ = [clients.submit(ask, number) for number in range(16)]
        for version in candidates:
            for change in (promote, roll_back):
                now = time.monotonic()
                generation = change(ws, version)
                wait_for(lambda generation=generation: live.engine.served.generation == generation, 10)  # type: ignore[misc, union-attr]
                terms.append((1 if change is promote else version, named, time.monotonic()))
                named = now
                time.sleep(0.1)
        terms.append((1, named, float("inf")))
        stop.set()
        seen = [each.result(30) for each in running_]

    assert live.metrics.swaps._value.get() == 11
    assert {version for each in seen for _, _, version, _ in each} == {1, *candidates}
    for each in seen:
        generations = [generation for _, _, _, generation in each]
        assert generations == sorted(generations)
        for began, ended, version, _ in each:
            assert any(of == version and start <= ended and began <= end for of, start, end in terms)


def test_before_the_first_version_it_is_live_but_not_ready(small: Path) -> None:
    empty = open_workspace(Settings.load(), SILENT)
    with running(empty) as (client, _):
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/started").status_code == 200
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "no version is in service")
        response = client.post("/v1/predict", json={"task": "digit", "inputs": {"text": "tres"}})
        assert response.status_code == 503
        assert "omniloop train" in told(response)["mend"]
        assert client.get("/v1/versions").json()["answering"] is None
        assert answers(str(client.base_url).rstrip("/"))
    empty.database.close()


def test_a_version_that_cannot_be_loaded_raises_an_alert_and_the_old_one_stays(
    service: Service, ws: Workspace, tmp_path: Path
) -> None:
    client, live = service
    release = add_version(ws, tmp_path, 1)
    kept = ws.blobs.get(release.digest)
    ws.blobs.delete(release.digest)
    promote(ws, release.version)
    wait_for(lambda: live.watch.refusal, 10)
    asked = {"task": "digit", "inputs": {"text": "tres"}}
    assert client.post("/v1/predict", json=asked).json()["version"] == 1
    assert "v2 was refused" in client.get("/v1/versions").json()["refused"]
    assert client.get("/health/ready").status_code == 200

    def alert() -> object:
        with ws.database.read() as session:
            return alerts.open_alert(session, "service:version-refused")

    wait_for(alert, 5)
    ws.blobs.put(kept)
    wait_for(lambda: client.post("/v1/predict", json=asked).json()["version"] == 2, 20)
    wait_for(lambda: alert() is None, 5)


def test_probation_is_judged_on_live_traffic(
    service: Service, ws: Workspace, tmp_path: Path, arriving: list[Sample], right: dict[str, str]
) -> None:
    client, live = service
    version = add_version(ws, tmp_path, 1).version
    promote(ws, version)
    wait_for(lambda: live.engine.served is not None and live.engine.served.version == version, 10)
    for sample in arriving[:12]:
        id_ = client.post("/v1/predict", json=body_of(sample)).json()["prediction"]
        said = client.post("/v1/feedback", json={"prediction": id_, "answer": right[sample.id]})
        assert said.json()["new"]
    report = watch_probation(ws)
    assert report is not None
    assert report.release.version == version
    assert report.num_new_pairs == 12
    with ws.database.read() as session:
        assert versions.serving(session).version == version
