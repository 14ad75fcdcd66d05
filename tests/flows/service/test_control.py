"""Decisions over HTTP do what the command line does, once, in the name of who decides."""

from pathlib import Path

import httpx
import pytest

from db.repository import audit, releases, samples, versions
from flows.service.live import LiveService
from flows.workspace import Workspace
from omni_model.sample import Sample
from tests.flows.service.running import add_version, body_of, told, wait_for

WHY = {"why": "looks good", "who": "ann"}


def waiting(ws: Workspace, tmp_path: Path, seed: int = 1) -> int:
    """A version that waits for approval."""
    version = add_version(ws, tmp_path, seed).version
    with ws.database.write() as session:
        releases.await_approval(session, version, who="loop", why="inconclusive", now=ws.clock())
    return version


def test_approving_and_rolling_back_reach_traffic(
    service: tuple[httpx.Client, LiveService], ws: Workspace, tmp_path: Path
) -> None:
    client, _ = service
    version = waiting(ws, tmp_path)
    ask = {"task": "digit", "inputs": {"text": "tres"}}
    said = client.post(f"/v1/versions/{version}/approve", json=WHY)
    assert said.status_code == 200, said.text
    assert said.json() == {"version": version, "state": "probation", "in_service": version, "generation": 2}
    wait_for(lambda: client.post("/v1/predict", json=ask).json()["version"] == version, 10)
    said = client.post(f"/v1/versions/{version}/rollback", json=WHY).json()
    assert (said["state"], said["in_service"]) == ("rolled_back", 1)
    wait_for(lambda: client.post("/v1/predict", json=ask).json()["version"] == 1, 10)
    for move in ("approve", "reject", "rollback"):
        again = client.post(f"/v1/versions/{version}/{move}", json=WHY)
        assert again.status_code == 409, again.text
        told(again)
    with ws.database.read() as session:
        trail = audit.history(session, version=version)
    assert [(entry.to_state, entry.who) for entry in trail[-2:]] == [("probation", "ann"), ("rolled_back", "ann")]


def test_a_version_shows_its_trail(client: httpx.Client, ws: Workspace, tmp_path: Path) -> None:
    version = waiting(ws, tmp_path)
    assert client.post(f"/v1/versions/{version}/reject", json={"why": "no"}).json()["state"] == "rejected"
    said = client.get(f"/v1/versions/{version}").json()
    assert (said["state"], said["parent"], said["in_service"], said["answering"]) == ("rejected", 1, False, False)
    assert [move["became"] for move in said["trail"]] == ["candidate", "awaiting_approval", "rejected"]
    assert said["trail"][-1]["who"] == "service"
    assert client.get("/v1/versions/1").json()["answering"]


@pytest.mark.parametrize("path", ["9", "9/approve", "9/reject", "9/rollback"])
def test_an_unknown_version_is_not_found(refusing: httpx.Client, path: str) -> None:
    method = "GET" if path == "9" else "POST"
    response = refusing.request(method, f"/v1/versions/{path}", json=WHY)
    assert response.status_code == 404
    told(response)


@pytest.mark.parametrize("path", ["0", "-1", "x", "1.5", "99999999999999999999"])
def test_what_is_no_version_is_refused(refusing: httpx.Client, path: str) -> None:
    assert refusing.get(f"/v1/versions/{path}").status_code == 422
    told(refusing.get(f"/v1/versions/{path}"))
    assert refusing.post(f"/v1/versions/{path}/approve", json=WHY).status_code == 422


def test_a_decision_needs_a_reason(refusing: httpx.Client) -> None:
    for body in ({}, {"why": ""}, {"why": "x", "more": 1}, {"why": 1}):
        response = refusing.post("/v1/versions/1/rollback", json=body)
        assert response.status_code == 422
        told(response)


def test_a_deleted_sample_is_gone_and_its_learners_are_named(
    client: httpx.Client, ws: Workspace, arriving: list[Sample]
) -> None:
    body = {**body_of(arriving[0]), "id": "a/b c", "answer": "3", "item": "mine"}
    assert client.post("/v1/ingest", json={"samples": [body]}).json()["num_new"] == 1
    assert client.delete("/v1/samples/a/b c").status_code == 422  # why is missing
    said = client.delete("/v1/samples/a/b c", params={"why": "asked for"})
    assert said.status_code == 200, said.text
    assert said.json()["sample"] == "a/b c"
    assert said.json()["num_labels"] == 1
    assert said.json()["trained_versions"] == []
    gone = client.delete("/v1/samples/a/b c", params={"why": "asked for"})
    assert gone.status_code == 404
    told(gone)
    with ws.database.read() as session:
        learnt = samples.labelled(session, "train")[0].sample.id
        assert versions.serving(session).version == 1
    assert client.delete(f"/v1/samples/{learnt}", params={"why": "asked for"}).json()["trained_versions"] == [1]
    with ws.database.read() as session:
        assert samples.get(session, [learnt, "a/b c"]) == []
