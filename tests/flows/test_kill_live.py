"""kill -9 while samples arrive and while a version is on probation, then a restart: all of it once, nothing half."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from db.repository import ingests, labels, probation, rounds, samples
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps import ingesting
from flows.steps.ingesting import ingest
from flows.steps.reconciling import reconcile
from flows.steps.watching import watch_probation
from flows.workspace import Workspace, open_workspace
from omni_model.data.writing import write_manifest
from tests.flows import homes
from tests.flows.victims import CHUNK_ROWS, Death, Order, VictimServer

IN_INGEST = (
    Death(function="db.repository.ingests:start_ingest", after=True),
    Death(function="db.blobs:BlobStore.put", call=17, after=True),
    Death(function="db.repository.samples:add_samples", call=3, after=True),
    Death(function="db.repository.ingests:advance_ingest", call=2, after=True),
    Death(function="flows.steps.ingesting:sort_rows", call=4),
    Death(function="db.repository.ingests:finish_ingest"),
)
IN_PROBATION = (
    Death(function="flows.steps.watching:scored", after=True),
    Death(function="db.repository.probation:add_pairs", after=True),
    Death(function="flows.steps.watching:act"),
    Death(function="db.repository.releases:rollback", after=True),
    Death(function="flows.steps.reconciling:reconcile"),
    Death(function="flows.registry:MlflowClient.set_registered_model_alias", after=True),
)


def name_of(death: Death) -> str:
    return death.function.partition(":")[2]


@pytest.mark.parametrize("death", IN_INGEST, ids=name_of)
def test_a_killed_ingest_goes_on_and_neither_loses_nor_doubles_a_row(
    death: Death, small: Path, tmp_path: Path, victims: VictimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = homes.domain("fr", sizes={"train": 30, "val": 8})
    rows[5] = replace(rows[5], answer=None)
    rows[6] = replace(rows[6], task="unheard-of")
    manifest = write_manifest(rows, tmp_path / "arrival")
    ws = open_workspace(Settings.load(), SILENT)
    ingesting.add_task(ws, homes.TASK)
    ws.database.close()
    victims.kill(Order(home=str(small), act="ingest", manifest=str(manifest), death=death))

    monkeypatch.setattr(ingesting, "CHUNK_ROWS", CHUNK_ROWS)
    ingest(ws, manifest)
    good = [row for row in rows if row.task == homes.TASK.name]
    with ws.database.read() as session:
        assert sorted(row.id for row in samples.list_samples(session)) == sorted(row.id for row in good)
        assert [fault.sample_id for fault in ingests.list_faults(session)] == [rows[6].id]
        history = {row.id: [label.answer for label in labels.label_history(session, row.id)] for row in good}
        (progress,) = ingests.list_ingests(session)
    assert history == {row.id: [row.answer] if row.answer else [] for row in good}
    assert (progress.num_new, progress.num_known, progress.num_faults) == (len(good), 0, 1)
    assert progress.finished_at is not None
    ws.database.close()


@pytest.mark.parametrize("death", IN_PROBATION, ids=name_of)
def test_a_killed_rollback_happens_once_and_whole(
    death: Death, betrayed: Path, small: Path, victims: VictimServer
) -> None:
    home = homes.copy(betrayed, small)
    victims.kill(Order(home=str(home), act="probation", death=death))
    ws = open_workspace(Settings.load(), SILENT)
    watch_probation(ws)
    reconcile(ws.with_(clock=homes.Clock(ws.clock() + timedelta(minutes=2))))
    check_rolled_back(ws)
    ws.database.close()


def check_rolled_back(ws: Workspace) -> None:
    """v2 was taken back once, with its round and labels, and v1 serves in every store."""
    assert homes.states(ws) == {1: "accepted", 2: "rolled_back"}
    assert (homes.serving(ws).version, homes.serving(ws).previous_version) == (1, None)
    moves = Counter(entry.to_state for entry in homes.trail(ws, version=2))
    assert moves == {"candidate": 1, "probation": 1, "rolled_back": 1}
    with ws.database.read() as session:
        keys = [pair.key for pair in probation.pairs(session, 2)]
        assert len(keys) == len(set(keys)) == homes.NUM_LIVE
        assert rounds.get_round(session, 2).quarantined_at is not None
        given = labels.labels_of_round(session, 2)
    assert given
    assert all(label.quarantined_at for label in given)
    with closing(sqlite3.connect(ws.home / "omniloop.db")) as store:
        told = store.execute("SELECT done_at IS NOT NULL FROM outbox WHERE key LIKE '%:2:rolled_back'").fetchall()
    assert told == [(1,), (1,)]
    assert ws.registry.aliases() == {"champion": homes.history(ws)[0].mlflow_version}
