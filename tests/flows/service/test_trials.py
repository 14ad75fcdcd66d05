"""Trials over real sockets: no request fails, no version answers that should not, and both are compared."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from db.errors import BlobStoreUnavailable
from db.records import Trial
from db.records.artefacts import MSN
from db.repository import alerts, artefacts, mirrors, probation, trials
from flows.service import selector_watch, trial_watch
from flows.service.live import LiveService
from flows.service.own_key import own_key, own_salt
from flows.steps.models import load_release
from flows.steps.trialling import judge_trial
from flows.workspace import Workspace
from omni_model.msn.rules import StaticRules
from omni_model.sample import Sample
from omni_model.serve.trial import place_of
from tests.flows.service.running import add_version, body_of, promote, roll_back, wait_for

Service = tuple[httpx.Client, LiveService]
TRES = {"task": "digit", "inputs": {"text": "tres"}}


def start(ws: Workspace, version: int, mode: Literal["canary", "shadow"], share: float) -> Trial:
    with ws.database.write() as session:
        return trials.start(session, version, mode=mode, share=share, who="ann", why="a test", now=ws.clock())


def stop(ws: Workspace) -> None:
    with ws.database.write() as session:
        trials.end(session, who="ann", outcome="stopped", now=ws.clock())


def last(ws: Workspace) -> Trial:
    with ws.database.read() as session:
        found = trials.last(session)
    assert found is not None
    return found


def num_mirrored(ws: Workspace) -> int:
    with ws.database.read() as session:
        return mirrors.agreement(session, 2, 1).num_both


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    response = client.post("/v1/predict", json={**TRES, **more})
    assert response.status_code == 200, response.text
    said: dict[str, Any] = response.json()
    return said


def test_a_canary_takes_its_share_by_key_and_gives_it_back(service: Service, ws: Workspace, tmp_path: Path) -> None:
    client, live = service
    version = add_version(ws, tmp_path, 1).version
    start(ws, version, "canary", 0.5)
    wait_for(lambda: live.engine.trial == (version, "canary", 0.5), 10)
    keys = [f"client {number}" for number in range(40)]
    first = {key: ask(client, key=key)["version"] for key in keys}
    assert 8 <= Counter(first.values())[version] <= 32
    salt = own_salt(ws.home, "canary")
    assert {key for key in keys if first[key] == version} == {key for key in keys if place_of(key, salt) < 0.5}
    assert salt not in (own_salt(ws.home, "log"), own_key(ws.home).encode())
    assert {key: ask(client, key=key)["version"] for key in keys} == first
    stop(ws)
    wait_for(lambda: live.engine.trial is None, 5)
    assert {ask(client, key=key)["version"] for key in keys} == {1}
    assert live.engine.warm_versions == (1,)


def test_nobody_is_told_what_a_shadow_says_and_both_answers_are_kept(
    service: Service, ws: Workspace, tmp_path: Path, arriving: list[Sample], right: dict[str, str]
) -> None:
    client, live = service
    version = add_version(ws, tmp_path, 1).version
    start(ws, version, "shadow", 1.0)
    wait_for(lambda: live.engine.trial is not None, 10)
    assert client.get("/v1/versions").json()["trial"] == {"version": version, "mode": "shadow", "share": 1.0}
    told = {}
    for sample in arriving[:12]:
        said = client.post("/v1/predict", json=body_of(sample)).json()
        assert said["version"] == 1
        told[said["prediction"]] = right[sample.id]
    wait_for(lambda: num_mirrored(ws) == 12, 15)
    for id_, answer in told.items():
        assert client.post("/v1/feedback", json={"prediction": id_, "answer": answer}).json()["new"]
    report = judge_trial(ws)
    assert report is not None
    assert (report.num_new_pairs, report.agreement.num_both, report.trial.is_running) == (12, 12, True)
    assert report.agreement.new_latency_s is not None
    text = client.get("/metrics").text
    assert f"omniloop_trial_version {version}.0" in text
    assert "omniloop_trial_shadow 1.0" in text
    assert "omniloop_mirrored_total 12.0" in text
    assert "omniloop_mirrors_logged_total 12.0" in text
    promote(ws, version)
    wait_for(lambda: live.engine.served is not None and live.engine.served.version == version, 10)
    assert live.engine.trial is None
    with ws.database.read() as session:
        assert probation.count_pairs(session, version)[0] == 12


def test_a_version_on_trial_that_is_promoted_is_not_loaded_again(
    service: Service, ws: Workspace, tmp_path: Path
) -> None:
    client, live = service
    release = add_version(ws, tmp_path, 1)
    start(ws, release.version, "canary", 1.0)
    wait_for(lambda: live.engine.trial is not None, 10)
    ws.blobs.delete(release.digest)
    promote(ws, release.version)
    assert wait_for(lambda: live.engine.served.version == release.version, 10) < 3  # type: ignore[union-attr]
    assert ask(client)["version"] == release.version
    assert last(ws).outcome == f"v{release.version} became probation"


def test_a_version_that_cannot_be_loaded_ends_its_trial_with_the_reason(
    service: Service, ws: Workspace, tmp_path: Path
) -> None:
    client, live = service
    broken, sound = add_version(ws, tmp_path, 1), add_version(ws, tmp_path, 2)
    ws.blobs.delete(broken.digest)
    start(ws, broken.version, "canary", 1.0)
    wait_for(lambda: not last(ws).is_running, 10)
    assert (last(ws).outcome, last(ws).ended_by) == ("refused", "service")
    assert ask(client)["version"] == 1

    def alert() -> object:
        with ws.database.read() as session:
            return alerts.open_alert(session, "service:trial-refused")

    assert alert() is not None
    start(ws, sound.version, "canary", 1.0)
    wait_for(lambda: ask(client)["version"] == sound.version, 10)
    wait_for(lambda: alert() is None, 5)
    assert live.metrics.refused._value.get() == 1


def test_a_store_that_cannot_be_reached_does_not_end_a_trial(
    service: Service, ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, live = service
    version = add_version(ws, tmp_path, 1).version
    tries = list[int]()

    def unreachable(*given: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise BlobStoreUnavailable("The blob store cannot be read. Make it reachable.")
        return load_release(*given)

    monkeypatch.setattr(trial_watch, "load_release", unreachable)
    monkeypatch.setattr(trial_watch, "PAUSE_S", 0.2)
    start(ws, version, "canary", 1.0)
    wait_for(lambda: ask(client)["version"] == version, 10)
    assert len(tries) == 2
    assert live.engine.trial is not None


def test_trials_under_load_fail_no_request_and_nobody_else_answers(
    service: Service, ws: Workspace, tmp_path: Path, arriving: list[Sample]
) -> None:
    """Trials start, end and are promoted under 12 clients; each answer comes of a version that was in service or on
    trial at some moment between its question and its answer.
    """
    client, live = service
    candidates = [add_version(ws, tmp_path, seed).version for seed in range(2)]
    bodies = [body_of(sample) for sample in arriving[:20]]
    terms: list[tuple[int, float, float]] = []  # a version, from when, until when it may answer
    stopping = threading.Event()

    def ask_on(number: int) -> list[tuple[float, float, int]]:
        seen: list[tuple[float, float, int]] = []
        while not stopping.is_set():
            began = time.monotonic()
            response = client.post("/v1/predict", json=bodies[(number + len(seen)) % len(bodies)])
            assert response.status_code == 200, response.text
            seen.append((began, time.monotonic(), response.json()["version"]))
        return seen

    began = time.monotonic()
    with ThreadPoolExecutor(12) as clients:
        asking = [clients.submit(ask_on, number) for number in range(12)]
        for version in candidates:
            named = time.monotonic()
            start(ws, version, "canary", 0.5)
            wait_for(lambda version=version: live.engine.trial == (version, "canary", 0.5), 10)  # type: ignore[misc]
            time.sleep(0.2)
            stop(ws)
            wait_for(lambda: live.engine.trial is None, 10)
            terms.append((version, named, time.monotonic()))
            start(ws, version, "shadow", 0.5)
            wait_for(lambda: live.engine.trial is not None, 10)
            time.sleep(0.2)
            named = time.monotonic()
            start_canary_over(ws, version)
            wait_for(lambda version=version: live.engine.trial == (version, "canary", 1.0), 10)  # type: ignore[misc]
            promote(ws, version)
            wait_for(lambda version=version: live.engine.served.version == version, 10)  # type: ignore[misc, union-attr]
            time.sleep(0.1)
            roll_back(ws, version)
            wait_for(lambda: live.engine.served.version == 1, 10)  # type: ignore[union-attr]
            terms.append((version, named, time.monotonic()))
        stopping.set()
        seen = [entry for each in asking for entry in each.result(30)]
    terms.append((1, began, time.monotonic()))

    answered = Counter(version for _, _, version in seen)
    assert set(answered) == {1, *candidates}
    for asked, told, version in seen:
        assert any(of == version and since <= told and asked <= until for of, since, until in terms)
    assert live.engine.counts().num_trial_failures == 0


def start_canary_over(ws: Workspace, version: int) -> None:
    """End the trial and start another one of the same version, between two looks of the service."""
    stop(ws)
    start(ws, version, "canary", 1.0)


def test_a_selector_that_comes_later_is_taken_up(
    service: Service, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, live = service
    later = StaticRules()
    monkeypatch.setattr(selector_watch, "selector_of", lambda ws, version: later)
    assert live.engine.served is not None
    assert live.engine.served.selector is None
    with ws.database.write() as session:
        artefacts.put(session, 1, MSN, ws.blobs.put(b"{}"), now=ws.clock())
    wait_for(lambda: live.engine.served.selector is later, 5)  # type: ignore[union-attr]


def test_a_selector_that_cannot_be_read_leaves_its_version_serving(service: Service, ws: Workspace) -> None:
    client, live = service
    with ws.database.write() as session:
        artefacts.put(session, 1, MSN, "0" * 64, now=ws.clock())
    wait_for(lambda: live.watch._selectors._known.get(1) is not None, 5)
    assert ask(client)["version"] == 1
