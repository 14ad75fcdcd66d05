"""What the edge logged reaches the cloud once: after a silence, after a kill of either side, and only what fits."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.records import Feedback, Prediction
from db.repository import feedback, predictions, samples
from flows.edge.cloud import CloudSilent, as_json
from flows.edge.forms import EdgeFeedbackIn, EdgeLogIn, EdgeLogOut, LoggedIn
from flows.edge.records import GivenFeedback, Part, Spooled
from flows.edge.spool import Spool
from flows.edge.syncing import hand_over
from flows.service.edge_sync import take
from flows.service.log_policy import LogPolicy
from flows.workspace import Workspace
from omni_model.sample import Sample
from tests.flows import homes
from tests.flows.edge.running import EdgeProcess, running_edge, waiting
from tests.flows.service.running import Process, body_of, running, told, wait_for

KEEP_ALL = LogPolicy()


def stored(ws: Workspace, ids: list[str]) -> list[tuple[Prediction | None, Feedback | None]]:
    with ws.database.read() as session:
        return [(predictions.get(session, id_), feedback.get(session, id_)) for id_ in ids]


def num_logged(ws: Workspace) -> int:
    with ws.database.read() as session:
        return len(predictions.between(session, datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)))


def answers_and_feedback(client: httpx.Client, rows: list[Sample]) -> list[str]:
    """Ask for each sample and give feedback to each answer; returns the predictions, once all is acknowledged."""
    ids = []
    for row in rows:
        said = client.post("/v1/predict", json=body_of(row))
        assert said.status_code == 200, said.text
        id_ = said.json()["prediction"]
        given = client.post("/v1/feedback", json={"prediction": id_, "answer": row.answer, "who": "ann"})
        assert given.json() == {"prediction": id_, "new": True}
        ids.append(id_)
    return ids


def logged(**more: Any) -> LoggedIn:
    """An answer of an edge, well-formed."""
    values: dict[str, Any] = {
        "id": "e1",
        "version": 1,
        "bundle": "d1",
        "task": "digit",
        "instruction": "Which digit is it?",
        "answer": "7",
        "probabilities": {"7": 0.9, "1": 0.1},
        "received": ["text"],
        "used": ["text"],
        "ignored": {},
        "inputs": {"text": "c2V2ZW4="},
        "latency_s": {"queue": 0.0, "decode": 0.0, "encode": 0.001, "fuse": 0.001},
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return LoggedIn(**{**values, **more})


@pytest.mark.parametrize(
    "bad",
    [
        {"at": "0001-01-01T00:00:00+14:00"},
        {"used": ["text", "text"]},
        {"probabilities": {"7": 0.0, "1": 0.0}},
    ],
)
def test_a_row_that_can_never_be_stored_is_refused_by_itself(ws: Workspace, bad: dict[str, Any]) -> None:
    rows = [logged(id="good"), LoggedIn.model_validate({**logged(id="bad").model_dump(), **bad}), logged(id="also")]
    done = take(ws, part(*rows), KEEP_ALL)
    assert [row.state for row in done.predictions] == ["new", "refused", "new"]
    assert done.predictions[1].reason


def test_feedback_of_an_edge_is_kept_as_told_by_its_key(ws: Workspace) -> None:
    said = EdgeFeedbackIn(prediction="e1", answer="7", who="ann")
    take(ws, EdgeLogIn(edge="edge-1", predictions=[logged()], feedback=[said]), KEEP_ALL, key="shop")
    [(_, kept)] = stored(ws, ["e1"])
    assert kept is not None
    assert kept.origin == "human:ann via shop"


def part(*rows: LoggedIn, **said: str) -> EdgeLogIn:
    told_ = [EdgeFeedbackIn(prediction=id_, answer=answer) for id_, answer in said.items()]
    return EdgeLogIn(edge="edge-1", predictions=list(rows), feedback=told_)


def test_what_was_logged_while_the_cloud_was_down_arrives_with_inputs_and_feedback(
    ws: Workspace, bundle: Path, tmp_path: Path, labelled: list[Sample]
) -> None:
    with running_edge(bundle, tmp_path / "spool", confidence=0.0) as (client, _):
        ids = answers_and_feedback(client, labelled[:6])
        assert waiting(client) == (6, 6)
    with (
        running(ws) as (cloud, _),
        running_edge(bundle, tmp_path / "spool", cloud=str(cloud.base_url), confidence=0.0) as (client, _),
    ):
        wait_for(lambda: waiting(client) == (0, 0), 20)
        assert client.get("/v1/bundle").json()["synced"] == 6
    found = stored(ws, ids)
    for row, (prediction, said) in zip(labelled[:6], found, strict=True):
        assert prediction is not None
        assert said is not None
        assert (said.answer, said.origin) == (row.answer, "human:ann")
        assert prediction.detail["edge"]["id"].startswith("edge-")
        assert set(prediction.modalities) <= {"text", "image"}
    with ws.database.read() as session:
        kept = samples.get(
            session, [prediction.sample_id for prediction, _ in found if prediction and prediction.sample_id]
        )
    assert all(ws.blobs.exists(digest) for sample in kept for digest in sample.inputs.values())


def test_feedback_on_an_answer_of_the_cloud_goes_to_the_cloud(ws: Workspace, bundle: Path, tmp_path: Path) -> None:
    with (
        running(ws) as (cloud, _),
        running_edge(bundle, tmp_path / "spool", cloud=str(cloud.base_url), confidence=1.0) as (client, _),
    ):
        said = client.post("/v1/predict", json={"task": "digit", "inputs": {"text": "xqvw"}}).json()
        assert said["answered_by"] == "cloud"
        client.post("/v1/feedback", json={"prediction": said["prediction"], "answer": "3"}).raise_for_status()
        wait_for(lambda: waiting(client) == (0, 0), 20)
    ((prediction, given),) = stored(ws, [said["prediction"]])
    assert prediction is not None
    assert "edge" not in prediction.detail
    assert given is not None
    assert given.answer == "3"


def test_the_clouds_key_opens_answers_and_log_and_a_wrong_one_makes_the_edge_wait(
    home: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "k" * 20)
    ws = homes.opened()
    body = {"task": "digit", "inputs": {"text": "xqvw"}}
    with running(ws) as (cloud, _):
        url = str(cloud.base_url)
        with running_edge(bundle, tmp_path / "s", cloud=url, cloud_key="wrong", confidence=1.0) as (client, _):
            said = client.post("/v1/predict", json=body).json()
            assert said["answered_by"] == "edge"
            assert "401" in said["why"]
            client.post("/v1/feedback", json={"prediction": said["prediction"], "answer": "3"}).raise_for_status()
            assert waiting(client) == (1, 1)
        with running_edge(bundle, tmp_path / "s", cloud=url, cloud_key="k" * 20, confidence=1.0) as (client, _):
            assert client.post("/v1/predict", json=body).json()["answered_by"] == "cloud"
            wait_for(lambda: waiting(client) == (0, 0), 20)
    ((prediction, given),) = stored(ws, [said["prediction"]])
    assert prediction is not None
    assert given is not None
    ws.database.close()


def test_the_same_part_twice_is_stored_once(ws: Workspace) -> None:
    body = part(logged(), logged(id="e2"), e1="7")
    first, second = take(ws, body, KEEP_ALL), take(ws, body, KEEP_ALL)
    assert [row.state for row in (*first.predictions, *first.feedback)] == ["new"] * 3
    assert [row.state for row in (*second.predictions, *second.feedback)] == ["known"] * 3
    assert num_logged(ws) == 2


def test_an_acknowledgement_that_never_arrives_loses_and_doubles_nothing(ws: Workspace, tmp_path: Path) -> None:
    """The cloud is killed after its transaction, or the edge before its own: the edge cannot know, and sends again."""
    spool = Spool(tmp_path, max_bytes=10**6)
    row = logged().model_dump(mode="json", exclude={"id", "inputs"})
    spool.add(Spooled(id="e1", body=row, content={"text": b"seven"}), task="digit")
    spool.give_feedback(GivenFeedback(prediction="e1", answer="7", who=""), {}).result()

    def send(some: Part) -> EdgeLogOut:
        return take(ws, EdgeLogIn.model_validate_json(json.dumps(as_json("edge-1", some))), KEEP_ALL)

    def send_and_hear_nothing(some: Part) -> EdgeLogOut:
        send(some)
        raise CloudSilent("the line is dead")

    for _ in range(3):
        with pytest.raises(CloudSilent):
            hand_over(spool.part(max_rows=9, max_bytes=10**6), send_and_hear_nothing, spool)
    hand_over(spool.part(max_rows=9, max_bytes=10**6), send, spool)
    assert (num_logged(ws), len(spool.part(max_rows=9, max_bytes=10**6)), spool.counts().refused) == (1, 0, 0)
    assert all(each is not None for each in stored(ws, ["e1"])[0])
    spool.close()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"version": 9}, "no version 9 here"),
        ({"task": "sign"}, "Nobody here knows the task"),
        ({"answer": "seven", "probabilities": {"seven": 0.9, "1": 0.1}}, "no answer of task digit"),
        ({"inputs": {}}, "missing or of no known modality"),
        ({"inputs": {"text": "/w=="}}, "Input text cannot be read"),
        ({"inputs": {"text": "%"}}, "Input text cannot be read"),
    ],
)
def test_a_row_that_can_never_be_stored_is_refused_alone(ws: Workspace, more: dict[str, Any], reason: str) -> None:
    done = take(ws, part(logged(), logged(id="bad", **more), e1="7", bad="7"), KEEP_ALL)
    assert [(row.prediction, row.state) for row in done.predictions] == [("e1", "new"), ("bad", "refused")]
    assert reason in done.predictions[1].reason
    assert [row.state for row in done.feedback] == ["new", "refused"]


def test_other_feedback_than_the_first_is_refused_and_changes_nothing(ws: Workspace) -> None:
    take(ws, part(logged(), e1="7"), KEEP_ALL)
    done = take(ws, part(e1="1"), KEEP_ALL)
    assert done.feedback[0].state == "refused"
    ((_, given),) = stored(ws, ["e1"])
    assert given is not None
    assert given.answer == "7"


def test_what_the_cloud_leaves_out_of_its_log_it_leaves_out_of_an_edges_too(ws: Workspace) -> None:
    take(ws, part(logged(source="ann's phone")), LogPolicy(omit=frozenset({"text", "source"})))
    ((prediction, _),) = stored(ws, ["e1"])
    assert prediction is not None
    assert prediction.sample_id is None
    assert "phone" not in repr(prediction)


def test_what_a_light_model_answered_is_no_traffic_of_the_version_itself(ws: Workspace) -> None:
    take(ws, part(logged(), e1="7"), KEEP_ALL)
    far = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    with ws.database.read() as session:
        assert len(predictions.between(session, *far, version=1)) == 1
        assert predictions.between(session, *far, version=1, own_only=True) == []
        assert len(feedback.scored(session, version=1)) == 1
        assert feedback.scored(session, version=1, own_only=True) == []


def test_a_clock_that_is_ahead_is_not_believed(ws: Workspace) -> None:
    take(ws, part(logged(at=datetime(2099, 1, 1, tzinfo=UTC))), KEEP_ALL)
    ((prediction, _),) = stored(ws, ["e1"])
    assert prediction is not None
    assert prediction.detail["edge"]["at"] < "2099"


def test_a_body_that_is_no_part_of_a_spool_is_refused(ws: Workspace) -> None:
    with running(ws) as (cloud, _):
        response = cloud.post("/v1/edge/log", json={"edge": "e", "predictions": [{"id": "x"}]})
        assert response.status_code == 422
        told(response)


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_edge_is_killed_in_the_middle_of_a_sync(
    ws: Workspace, home: Path, bundle: Path, tmp_path: Path, labelled: list[Sample]
) -> None:
    """The edge has neither database nor MLflow nor Prefect here, and is killed as soon as the cloud has something."""
    edge = EdgeProcess(bundle, tmp_path, "--confidence", "0")
    ids = answers_and_feedback(edge.client, labelled[:24])
    edge.kill()
    cloud = Process(home)
    address = ("--cloud", str(cloud.client.base_url), "--confidence", "0")
    small = {"OMNI_EDGE__SYNC_ROWS": "2", "OMNI_EDGE__SYNC_EVERY_S": "0.1"}
    for least in (2, 12):
        edge = EdgeProcess(bundle, tmp_path, *address, **small)
        wait_for(lambda wanted=least: num_logged(ws) >= wanted, 30)  # type: ignore[misc]
        edge.kill()
    edge = EdgeProcess(bundle, tmp_path, *address, **small)
    wait_for(lambda: waiting(edge.client) == (0, 0), 30)
    edge.stop()
    cloud.kill()
    found = stored(ws, ids)
    assert all(prediction is not None and given is not None for prediction, given in found)
    assert num_logged(ws) == len(ids)


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_cloud_is_killed_in_the_middle_of_a_sync(
    ws: Workspace, home: Path, bundle: Path, tmp_path: Path, labelled: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []
    cloud = Process(home)
    monkeypatch.setenv("OMNI_SERVICE__PORT", str(cloud.port))
    with running_edge(
        bundle, tmp_path / "spool", cloud=str(cloud.client.base_url), confidence=0.0, sync_rows=2, sync_every_s=0.05
    ) as (client, _):
        for start in (0, 8):
            before = num_logged(ws)
            ids += answers_and_feedback(client, labelled[start : start + 8])
            wait_for(lambda: num_logged(ws) > before, 20)  # noqa: B023
            cloud.kill()
            cloud = Process(home)
        wait_for(lambda: waiting(client) == (0, 0), 30)
    cloud.kill()
    found = stored(ws, ids)
    assert all(prediction is not None and given is not None for prediction, given in found)
    assert num_logged(ws) == len(ids)
