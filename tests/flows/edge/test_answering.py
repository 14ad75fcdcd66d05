"""Who answers, and why: the edge when it is sure or alone, the cloud when it is not and the cloud is there."""

import shutil
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.edge.bundle import BundleError
from flows.edge.config import EdgeConfig
from flows.edge.service import EdgeService
from flows.workspace import Workspace
from omni_model.sample import Sample
from tests.flows.edge.running import NOBODY, running_edge
from tests.flows.service.running import body_of, running, told, wait_for


@pytest.fixture
def sample(labelled: list[Sample]) -> Sample:
    """One with all three modalities."""
    return next(row for row in labelled if len(row.inputs) == 3)


@pytest.fixture
def unsure(sample: Sample) -> dict[str, Any]:
    """A request that the model cannot be sure about: a word that means nothing, and a voice."""
    body = body_of(sample)
    return {**body, "inputs": {"text": "xqvw", "audio": body["inputs"]["audio"]}}


def ask(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post("/v1/predict", json=body)
    assert response.status_code == 200, response.text
    said: dict[str, Any] = response.json()
    return said


def test_the_edge_answers_alone_and_says_so(bundle: Path, tmp_path: Path, sample: Sample) -> None:
    with running_edge(bundle, tmp_path / "spool", confidence=0.0) as (client, _):
        said = ask(client, body_of(sample))
        assert said["answered_by"] == "edge"
        assert "at least 0" in said["why"]
        assert sorted(said["modalities"]["used"]) == ["image", "text"]
        assert "trained without audio" in said["modalities"]["ignored"]["audio"]
        assert client.get("/health/ready").json()["version"] == 1
        wait_for(lambda: "omniloop_edge_waiting 1.0" in client.get("/metrics").text, 10)


def test_below_the_threshold_the_cloud_answers_and_the_edge_above_it(
    ws: Workspace, bundle: Path, tmp_path: Path, unsure: dict[str, Any]
) -> None:
    with running(ws) as (cloud, _):
        for confidence, who in ((1.0, "cloud"), (0.0, "edge")):
            with running_edge(bundle, tmp_path / who, cloud=str(cloud.base_url), confidence=confidence) as (client, _):
                said = ask(client, unsure)
                assert said["answered_by"] == who, said["why"]
                assert ("audio" in said["modalities"]["used"]) == (who == "cloud")


def test_the_edge_answers_alone_when_nobody_listens_and_stops_trying_for_a_while(
    bundle: Path, tmp_path: Path, unsure: dict[str, Any]
) -> None:
    with running_edge(
        bundle, tmp_path / "spool", cloud=NOBODY, confidence=1.0, failures=2, pause_s=30, longest_pause_s=30
    ) as (client, service):
        reasons = [ask(client, unsure)["why"] for _ in range(3)]
        assert all("cannot be asked" in why for why in reasons)
        assert "left alone" in reasons[2]
        assert service.about().cloud == "open"
        assert client.get("/health/ready").status_code == 200


def test_a_cloud_that_is_too_slow_costs_no_more_than_its_time(
    bundle: Path, tmp_path: Path, unsure: dict[str, Any]
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # takes connections and never answers
        running_edge(
            bundle,
            tmp_path / "spool",
            cloud=f"http://127.0.0.1:{silent.getsockname()[1]}",
            confidence=1.0,
            cloud_timeout_s=0.3,
        ) as (client, _),
    ):
        began = time.monotonic()
        said = ask(client, unsure)
        assert said["answered_by"] == "edge"
        assert 0.25 < time.monotonic() - began < 3


def test_the_breaker_closes_again_once_the_cloud_answers(
    ws: Workspace, bundle: Path, tmp_path: Path, unsure: dict[str, Any]
) -> None:
    with running(ws) as (cloud, _):
        url = str(cloud.base_url)
        with running_edge(bundle, tmp_path / "s", cloud=url, confidence=1.0, failures=1, pause_s=0.1) as (client, edge):
            assert edge.cloud is not None
            edge.cloud.breaker.failed()
            assert ask(client, unsure)["answered_by"] == "edge"
            time.sleep(0.15)
            assert ask(client, unsure)["answered_by"] == "cloud"
            assert edge.about().cloud == "closed"


def test_what_the_edge_cannot_see_is_asked_of_the_cloud_and_refused_without_it(
    ws: Workspace, bundle: Path, tmp_path: Path, sample: Sample
) -> None:
    body = body_of(sample)
    body["inputs"] = {"audio": body["inputs"]["audio"]}
    with running(ws) as (cloud, _), running_edge(bundle, tmp_path / "a", cloud=str(cloud.base_url)) as (client, _):
        assert ask(client, body)["answered_by"] == "cloud"
    with running_edge(bundle, tmp_path / "b", cloud=NOBODY) as (client, _):
        response = client.post("/v1/predict", json=body)
        assert response.status_code == 422
        assert "cannot be asked now" in told(response)["mend"]


def test_what_the_cloud_refuses_too_is_told_as_its_refusal(ws: Workspace, bundle: Path, tmp_path: Path) -> None:
    with (
        running(ws) as (cloud, _),
        running_edge(bundle, tmp_path / "spool", cloud=str(cloud.base_url)) as (client, _),
    ):
        said = told(client.post("/v1/predict", json={"task": "colour", "inputs": {"text": "red"}}))
        assert said["value"] == "colour"
        assert "The cloud was asked and cannot either: it says 422: " in said["mend"]
        assert "()" not in said["mend"]


def test_a_budget_leaves_modalities_out_at_the_edge_too(bundle: Path, tmp_path: Path, sample: Sample) -> None:
    with running_edge(bundle, tmp_path / "spool", confidence=0.0) as (client, _):
        said = ask(client, body_of(sample, budget=0.0))
        assert len(said["modalities"]["used"]) == 1
        assert said["budget"] == 0.0


def test_a_batch_and_a_form_are_answered_as_in_the_cloud(bundle: Path, tmp_path: Path, sample: Sample) -> None:
    with running_edge(bundle, tmp_path / "spool", confidence=0.0) as (client, _):
        bad = {"task": "nothing", "inputs": {"text": "x"}}
        said = client.post("/v1/predict/batch", json={"samples": [body_of(sample), bad]}).json()["predictions"]
        assert said[0]["answered_by"] == "edge"
        assert "knows no task" in said[1]["fact"]
        form = client.post("/v1/predict", files={"task": (None, "digit"), "text": (None, "seven")})
        assert form.json()["modalities"]["used"] == ["text"]


def test_bad_input_is_refused_with_fact_value_and_mend(bundle: Path, tmp_path: Path, sample: Sample) -> None:
    with running_edge(bundle, tmp_path / "spool", max_body_bytes=100_000, api_key="k" * 20) as (client, _):
        client.headers["Authorization"] = "Bearer " + "k" * 20
        assert told(client.post("/v1/predict", content=b"{", headers={"Content-Type": "application/json"}))
        broken = {"task": "digit", "inputs": {"image": {"base64": "AAAA"}}}
        for response, status in (
            (client.post("/v1/predict", json=broken), 422),
            (client.post("/v1/predict", json={"task": "digit", "inputs": {"text": "x" * 200_000}}), 413),
            (client.post("/v1/feedback", json={"prediction": "nobody", "answer": "1"}), 404),
            (client.get("/v1/nothing"), 404),
            (client.post("/v1/predict", json=broken, headers={"Sec-Fetch-Site": "cross-site"}), 403),
            (client.post("/v1/predict", json=broken, headers={"Authorization": "Bearer other"}), 401),
        ):
            assert response.status_code == status, response.text
            told(response)


def test_the_document_describes_the_edge(bundle: Path, tmp_path: Path) -> None:
    with running_edge(bundle, tmp_path / "spool") as (client, _):
        document = client.get("/v1/openapi.json").json()
        assert "answered_by" in document["components"]["schemas"]["EdgePredictOut"]["properties"]


def test_a_damaged_bundle_is_refused_before_anything_listens(bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "bundle")
    with (damaged / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(BundleError, match=r"digest.*Copy the folder anew"):
        EdgeService(damaged, EdgeConfig(port=0), tmp_path / "spool")
    (damaged / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"is no bundle.*omniloop edge export"):
        EdgeService(damaged, EdgeConfig(port=0), tmp_path / "spool")
