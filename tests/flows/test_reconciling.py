"""MLflow follows the database: what was moved by hand is reported and set back, what was left half is finished."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from db.repository import audit, outbox, releases
from flows.errors import RegistryError
from flows.registry import VERSION_TAG, Registry, RoundRun
from flows.steps import reconciling
from flows.steps.reconciling import reconcile
from flows.workspace import Workspace
from tests.flows import homes

MODEL = "omniloop"


@pytest.fixture
def client(ws: Workspace) -> MlflowClient:
    """MLflow as a person would use it."""
    return MlflowClient(tracking_uri=ws.settings.mlflow_uri, registry_uri=ws.settings.mlflow_uri)


@pytest.fixture
def two(ws: Workspace, right: dict[str, str]) -> Workspace:
    """v1 accepted, v2 on probation, MLflow up to date."""
    homes.run_whole_round(ws, right)
    reconcile(ws)
    return ws


def test_an_alias_moved_by_hand_is_reported_audited_and_set_back_once(two: Workspace, client: MlflowClient) -> None:
    client.set_registered_model_alias(MODEL, "champion", "1")
    client.delete_registered_model_alias(MODEL, "previous")
    done = reconcile(two)
    assert done.moved_by_hand == ("champion", "previous")
    assert two.registry.aliases() == {"champion": "2", "previous": "1"}
    entries = [entry for entry in homes.trail(two) if entry.action == "alias_set_back"]
    assert [(entry.who, entry.subject_id) for entry in entries] == [
        ("reconciler", "champion"),
        ("reconciler", "previous"),
    ]
    assert "pointed to 1, the releases say 2" in entries[0].why
    assert reconcile(two).moved_by_hand == ()
    assert len([entry for entry in homes.trail(two) if entry.action == "alias_set_back"]) == 2


def test_an_alias_of_somebody_elses_is_left_alone(two: Workspace, client: MlflowClient) -> None:
    client.set_registered_model_alias(MODEL, "favourite", "1")
    assert reconcile(two).moved_by_hand == ()
    assert client.get_registered_model(MODEL).aliases["favourite"] in (1, "1")


def test_a_move_that_is_not_projected_yet_is_no_move_by_hand(two: Workspace) -> None:
    with two.database.write() as session:
        releases.rollback(session, 2, who="ann", why="a complaint", now=two.clock())
    done = reconcile(two)
    assert (done.moved_by_hand, done.aliases["champion"]) == ((), "1")


def test_a_move_that_happens_while_mlflow_is_written_is_projected_at_the_next_turn(
    two: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message must not be taken for done by the turn that did not see it."""
    real = Registry.project

    def meanwhile(self: Registry, wanted: Any) -> None:
        monkeypatch.undo()
        with two.database.write() as session:
            releases.rollback(session, 2, who="ann", why="a complaint", now=two.clock())
        real(self, wanted)

    monkeypatch.setattr(Registry, "project", meanwhile)
    reconcile(two)
    done = reconcile(two)
    assert (done.moved_by_hand, two.registry.aliases()["champion"]) == ((), "1")


def test_each_version_shows_its_state_in_mlflow(two: Workspace, client: MlflowClient) -> None:
    known = {found.tags[VERSION_TAG]: found for found in client.search_model_versions(f"name = '{MODEL}'")}
    assert {version: found.tags["omniloop.state"] for version, found in known.items()} == {
        "1": "accepted",
        "2": "probation",
    }
    assert known["2"].tags["parent"] == "1"


def test_a_round_is_one_run_with_parameters_metrics_curves_data_and_lineage(
    two: Workspace, client: MlflowClient
) -> None:
    run = client.get_run(homes.history(two)[1].mlflow_run_id or "")
    assert run.data.params["train.epochs"] == "3"
    assert run.data.tags["omniloop.parent_version"] == "1"
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 3
    assert run.data.metrics["selection.num_selected"] == 9
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 1
    assert {entry.path for entry in client.list_artifacts(run.info.run_id, "model")} == {
        "model/model.json",
        "model/model.safetensors",
    }


def test_a_run_that_was_begun_and_not_finished_is_replaced(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RoundRun(
        round_id=9, params={}, metrics={"seconds": 1.0}, history=[], dataset_name="d", dataset_digest="0", tags={}
    )
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", refuse)
        with pytest.raises(RegistryError, match=r"log_round.*the store is away.*OMNI_MLFLOW_URI"):
            ws.registry.log_round(run)
    first = ws.registry.log_round(run)
    assert ws.registry.log_round(run) == first
    client = MlflowClient(tracking_uri=ws.settings.mlflow_uri)
    experiment = client.get_experiment_by_name(MODEL)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.`omniloop.round` = '9'")
    assert [each.info.run_id for each in found] == [first]


def refuse(*args: Any, **kwargs: Any) -> None:
    raise MlflowException("the store is away")


def test_a_promotion_needs_no_mlflow(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowClient, "get_registered_model", refuse)
    with two.database.write() as session:
        releases.rollback(session, 2, who="ann", why="a complaint", now=two.clock())
    assert homes.serving(two).version == 1
    with pytest.raises(RegistryError, match="the store is away"):
        reconcile(two)
    monkeypatch.undo()
    later = two.with_(clock=homes.Clock(two.clock() + timedelta(minutes=2)))
    assert reconcile(later).aliases["champion"] == "1"
    with two.database.read() as session:
        assert outbox.waiting(session) == []


def test_an_address_is_shown_without_its_password(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/m.db", MODEL, tmp_path)
    registry.uri = "postgresql://me:secret@host/db"
    assert registry.place == "postgresql://host/db"


def test_the_trail_of_a_set_back_alias_names_no_version(two: Workspace, client: MlflowClient) -> None:
    """So that a version's own history stays what people and the gate did to it."""
    client.set_registered_model_alias(MODEL, "champion", "1")
    reconcile(two)
    with two.database.read() as session:
        assert all(entry.subject == "release" for entry in audit.history(session, version=2))
    assert reconciling.RECONCILER == "reconciler"
