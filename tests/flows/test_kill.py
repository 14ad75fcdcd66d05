"""kill -9 anywhere in a round, then a restart: no version twice, no label lost, nothing half promoted."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from db.repository import label_queue, labels, outbox, rounds
from flows.failpoints import FAILPOINTS, failpoint
from flows.registry import ROUND_TAG, VERSION_TAG
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.models import load_release
from flows.steps.reconciling import reconcile
from flows.steps.rounds import run_round
from flows.workspace import Workspace, open_workspace
from omni_model.features import encoder_digest
from tests.flows import homes
from tests.flows.victims import Death, Order, VictimServer

STEP_REACHED = {
    "round.opened": "opened",
    "filter.scored": "opened",
    "filter.before_commit": "opened",
    "filter.committed": "filtered",
    "label.committed": "filtered",
    "tune.epoch": "labelled",
    "tune.trained": "labelled",
    "tune.stored": "labelled",
    "tune.committed": "tuned",
    "register.logged": "tuned",
    "register.committed": "registered",
    "validate.measured": "registered",
    "validate.committed": "validated",
    "decide.before_commit": "validated",
    "decide.committed": "closed",
    "reconcile.projected": "closed",
    "reconcile.committed": "closed",
}
"""The step that the round must be found at after a kill there: proof that it died where it was to die."""

BETWEEN = (
    Death(function="flows.registry:MlflowClient.create_run", after=True),
    Death(function="flows.registry:MlflowClient.log_batch", after=True),
    Death(function="flows.registry:MlflowClient.set_terminated", after=True),
    Death(function="flows.registry:MlflowClient.log_artifacts", after=True),
    Death(function="flows.registry:MlflowClient.create_model_version", after=True),
    Death(function="flows.registry:MlflowClient.set_registered_model_alias", after=True),
    Death(function="db.repository.releases:create_candidate", after=True),
    Death(function="db.repository.releases:promote", after=True),
    Death(function="db.blobs:BlobStore.put_file", after=True),
    Death(function="omni_model.checkpoint:save_delta", after=True),
    Death(function="db.repository.outbox:done", after=True),
)
"""Places inside a step, where two stores are out of step for a moment."""


@pytest.fixture(scope="module")
def undisturbed(
    template: Path, right: dict[str, str], victims: VictimServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    """The same round, in the same home, without a kill."""
    home = homes.copy(template, tmp_path_factory.mktemp("undisturbed") / "home")
    assert victims.run(Order(home=str(home), act="round", answers=right, fork=False)) == 0
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        ws = open_workspace(Settings.load(home=home), SILENT)
    yield ws
    ws.database.close()


def restart(home: Path, right: dict[str, str]) -> Workspace:
    """What a person or a schedule does after a kill: start again, label what still waits, let MLflow follow."""
    ws = open_workspace(Settings.load(home=home), SILENT)
    with ws.database.read() as session:
        round_ = rounds.resume_target(session)
    if round_ is not None and run_round(ws, round_.trigger).num_labels_missing:
        homes.label_waiting(ws, right)
        run_round(ws, round_.trigger)
    later = homes.Clock(ws.clock() + timedelta(minutes=2))  # what the dead process had taken is free again
    reconcile(ws.with_(clock=later))
    return ws


def check_whole(ws: Workspace, undisturbed: Workspace, right: dict[str, str]) -> None:
    """The round has come to its end once, in every store, as if nothing had happened."""
    check_versions(ws, undisturbed)
    check_labels(ws, right)
    check_service(ws)
    check_messages(ws)
    check_mlflow(ws)


def check_versions(ws: Workspace, undisturbed: Workspace) -> None:
    """One new version, with the very weights of an undisturbed round, and nothing frozen has moved."""
    assert homes.states(ws) == {1: "accepted", 2: "probation"}
    first, second = homes.history(ws)
    assert second.digest == homes.history(undisturbed)[1].digest
    with ws.database.read() as session:
        assert [round_.id for round_ in rounds.list_rounds(session)] == [2, 1]
        round_ = rounds.get_round(session, 2)
        members = rounds.round_samples(session, 2)
    with undisturbed.database.read() as session:
        assert members == rounds.round_samples(session, 2)
    assert (round_.step, round_.outcome, second.round_id) == ("closed", "probation", 2)
    fit = round_.outputs["tuned"]["fit"]
    assert fit["frozen_digest_before"] == fit["frozen_digest_after"]
    assert encoder_digest(load_release(ws, first)) == encoder_digest(load_release(ws, second))


def check_labels(ws: Workspace, right: dict[str, str]) -> None:
    """Every sample that the round asked for has its label, once, and nothing waits any more."""
    with ws.database.read() as session:
        asked = [row.sample_id for row in rounds.round_samples(session, 2, "selected", "control", "validation")]
        given = {id_: [label.answer for label in labels.label_history(session, id_)] for id_ in asked}
        assert label_queue.list_entries(session) == []
    assert given == {id_: [right[id_]] for id_ in asked}
    assert len(asked) == 20


def check_service(ws: Workspace) -> None:
    """What serves is what the releases say, and the trail tells of each move once."""
    serving = homes.serving(ws)
    assert (serving.version, serving.previous_version, serving.generation) == (2, 1, 2)
    moves = Counter((entry.version, entry.to_state) for entry in homes.trail(ws) if entry.subject == "release")
    assert moves == {(1, "candidate"): 1, (1, "accepted"): 1, (2, "candidate"): 1, (2, "probation"): 1}


def check_messages(ws: Workspace) -> None:
    """Each message was left once and has gone out."""
    with ws.database.read() as session:
        assert outbox.waiting(session) == []
        assert outbox.dead_letters(session) == []
    with closing(sqlite3.connect(ws.home / "omniloop.db")) as store:
        keys = [key for (key,) in store.execute("SELECT key FROM outbox WHERE key LIKE '%:2:%' ORDER BY key")]
    assert keys == [
        "mlflow_alias:release:2:candidate",
        "mlflow_alias:release:2:probation",
        "notify:release:2:probation",
        "notify:release:2:probation>log",
    ]


def check_mlflow(ws: Workspace) -> None:
    """One finished run and one version of the round, and aliases that say what the releases say."""
    client = MlflowClient(tracking_uri=ws.settings.mlflow_uri, registry_uri=ws.settings.mlflow_uri)
    known = client.search_model_versions(f"name = '{ws.settings.registered_model}'")
    numbers = {found.tags[VERSION_TAG]: str(found.version) for found in known}
    assert len(known) == len(numbers) == 2
    experiment = client.get_experiment_by_name(ws.settings.registered_model)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`{ROUND_TAG}` = '2'")
    assert run.info.status == "FINISHED"
    assert ws.registry.aliases() == {"champion": numbers["2"], "previous": numbers["1"]}


def test_every_failpoint_is_in_the_matrix() -> None:
    assert tuple(STEP_REACHED) == FAILPOINTS


def test_a_name_that_is_no_failpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="FAILPOINTS"):
        failpoint("tune.nowhere")


def test_a_round_without_a_kill_is_whole(undisturbed: Workspace, right: dict[str, str]) -> None:
    check_whole(undisturbed, undisturbed, right)


@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_round_killed_at_a_failpoint_ends_as_if_it_had_not_been(
    name: str, home: Path, right: dict[str, str], victims: VictimServer, undisturbed: Workspace
) -> None:
    victims.kill(Order(home=str(home), act="round", answers=right, failpoint=name))
    assert step_of_round_2(home) == STEP_REACHED[name]
    ws = restart(home, right)
    check_whole(ws, undisturbed, right)
    ws.database.close()


@pytest.mark.parametrize("death", BETWEEN, ids=lambda death: death.function.partition(":")[2])
def test_a_round_killed_between_two_stores_ends_as_if_it_had_not_been(
    death: Death, home: Path, right: dict[str, str], victims: VictimServer, undisturbed: Workspace
) -> None:
    victims.kill(Order(home=str(home), act="round", answers=right, death=death))
    ws = restart(home, right)
    check_whole(ws, undisturbed, right)
    ws.database.close()


def step_of_round_2(home: Path) -> str:
    """Where the dead process has left the round."""
    with closing(sqlite3.connect(home / "omniloop.db")) as store:
        (step,) = store.execute("SELECT step FROM rounds WHERE id = 2").fetchone()
    return str(step)
