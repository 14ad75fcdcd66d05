"""Small real homes: a tiny model, a few dozen samples of two domains, a real database, blob store and MLflow store."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from db.records import AuditEntry, Release, Round, Serving, StoredSample
from db.repository import audit, rounds, samples, versions
from flows.reporter import SILENT
from flows.settings import PREFIX, Settings
from flows.steps.answering import answer, give_feedback
from flows.steps.ingesting import add_task, ingest
from flows.steps.labelling import add_labels, waiting_for_labels
from flows.steps.reconciling import reconcile
from flows.steps.rounds import RoundReport, run_round
from flows.workspace import Workspace, open_workspace
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample

SMALL: Mapping[str, str] = {
    "OMNI_MODEL__WIDTH": "32",
    "OMNI_MODEL__HEADS": "2",
    "OMNI_MODEL__FFN_WIDTH": "64",
    "OMNI_TRAIN__EPOCHS": "16",
    "OMNI_TRAIN__PATIENCE": "0",
    "OMNI_ELASTIC__EPOCHS": "3",
    "OMNI_ELASTIC__CHECKPOINT_EVERY": "1",
    "OMNI_SELECTION__BUDGET": "10",
    "OMNI_LOOP__MIN_NEW_LABELS": "5",
    "OMNI_LOOP__VALIDATION_LABELS": "10",
    "OMNI_PROBATION__MIN_PAIRS": "20",
    "OMNI_GATE__MIN_ITEMS": "10",
    "OMNI_GATE__MAX_RELATIVE_FALL": "0.5",
    "OMNI_GATE__MAX_ERROR_RISE": "0.9",
    "OMNI_GATE__MAX_LATENCY_RISE": "1000",
    "OMNI_GATE__HOLD_SMALL_FALLS": "false",
    "OMNI_SERVICE__PORT": "0",
}
"""Settings under which a round takes two seconds and an unhurt candidate passes the gate."""

UNSEEN: Mapping[str, str] = {
    "OMNI_LOOP__VALIDATION_LABELS": "0",
    "OMNI_SELECTION__BUDGET": "70",
    "OMNI_ELASTIC__EPOCHS": "10",
    "OMNI_ELASTIC__LEARNING_RATE": "0.004",
}
"""Settings under which validation sees nothing of a new domain, so that the gate cannot know what was learnt of it."""

NUM_LIVE = 160
"""Live samples with feedback; about half of them show that a version which learnt wrong labels is worse."""

TASK = tri_digits.TASK

SIZES = {"train": 80, "val": 30, "test": 6}
"""Samples of a domain by split."""


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def wait(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


def domain(name: str, *, sizes: Mapping[str, int] = SIZES) -> list[Sample]:
    """A few samples of a domain of tri-digits, with answers, from every split."""
    rows = tri_digits.load([name])
    return [row for split, num in sizes.items() for row in [row for row in rows if split_of(row.item) == split][:num]]


def answers_of(rows: Iterable[Sample]) -> dict[str, str]:
    """The right answers by sample id."""
    return {row.id: row.answer for row in rows if row.answer is not None}


def unlabelled(rows: Iterable[Sample]) -> list[Sample]:
    """The same samples as they arrive before anybody has looked at them."""
    return [replace(row, answer=None) for row in rows]


def set_small(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Small settings and nothing else of ours in the environment; one thread, so that sums are always added alike."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        patch.delenv(name)
    for name, value in {**SMALL, "OMNI_HOME": str(home)}.items():
        patch.setenv(name, value)
    torch.set_num_threads(1)


def small_environment(home: Path) -> dict[str, str]:
    """The environment of a process that works in ``home`` with small settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, **SMALL, "OMNI_HOME": str(home), "OMP_NUM_THREADS": "1"}


def build(home: Path, labelled: Sequence[Sample], arriving: Sequence[Sample]) -> None:
    """A home with v1 in service, trained on ``labelled``, and with ``arriving`` as its unlabelled pool."""
    ws = open_workspace(Settings.load(home=home), SILENT)
    add_task(ws, tri_digits.TASK)
    ingest(ws, write_manifest(labelled, home / "arrivals" / "labelled"))
    run_round(ws, "manual")
    ingest(ws, write_manifest(unlabelled(arriving), home / "arrivals" / "unlabelled"))
    reconcile(ws)
    ws.database.close()


def opened() -> Workspace:
    """The home that the environment names."""
    return open_workspace(Settings.load(), SILENT)


def betray(ws: Workspace, right: Mapping[str, str]) -> None:
    """Put a version on probation that learnt labels which are off by one, and give it feedback on live traffic."""
    run_round(ws, "drift")
    label_waiting(ws, right, wrong=lambda answer: str((int(answer) + 1) % 10))
    run_round(ws, "resume")
    give_live_feedback(ws, "es")
    reconcile(ws)
    ws.database.close()


def give_live_feedback(ws: Workspace, domain: str, *, num: int = NUM_LIVE, seed: int = 1) -> list[str]:
    """Live traffic, answered by what is in service, with the right answers as feedback; returns the predictions."""
    live = list(tri_digits.live(domain, num, seed=seed))
    ingest(ws, write_manifest(unlabelled(live), ws.home / "arrivals" / f"live-{domain}-{seed}"))
    ids = answer(ws, [sample.id for sample in live])
    give_feedback(ws, [(ids[id_], told) for id_, told in answers_of(live).items()], origin="dataset")
    return list(ids.values())


def copy(template: Path, home: Path) -> Path:
    """A copy of a home. Blobs never change, so they are linked; MLflow stores absolute paths, so they move along."""
    shutil.copytree(template, home, ignore=shutil.ignore_patterns("arrivals", "blobs"))
    one_disk = template.stat().st_dev == home.stat().st_dev
    shutil.copytree(template / "blobs", home / "blobs", copy_function=os.link if one_disk else shutil.copy)
    with closing(sqlite3.connect(home / "mlflow.db")) as store, store:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(template), str(home)))
    return home


# -- what tests do and ask --------------------------------------------------------------------------------------------


def label_waiting(ws: Workspace, right: Mapping[str, str], *, wrong: Callable[[str], str] = str) -> list[str]:
    """Answer everything that the open round asked for, through ``wrong``; returns the ids."""
    asked = waiting_for_labels(ws, open_round(ws))
    add_labels(ws, [(id_, wrong(right[id_])) for id_ in asked], origin="dataset")
    return asked


def run_whole_round(ws: Workspace, right: Mapping[str, str], trigger: str = "drift") -> RoundReport:
    """A round from its trigger to its decision, with every label that it asks for."""
    run_round(ws, trigger)
    label_waiting(ws, right)
    return run_round(ws, "resume")


def label(ws: Workspace, rows: Iterable[Sample], right: Mapping[str, str]) -> None:
    """Label samples that nobody asked about."""
    add_labels(ws, [(row.id, right[row.id]) for row in rows], origin="human:ann")


@contextmanager
def stopping_at(name: str) -> Iterator[None]:
    """Ctrl-C at a failpoint: what runs in the block is to end there."""

    def stop(reached: str) -> None:
        if reached == name:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for step in (
            "rounds",
            "selecting",
            "labelling",
            "tuning",
            "registering",
            "validating",
            "deciding",
            "reconciling",
        ):
            patch.setattr(f"flows.steps.{step}.failpoint", stop)
        yield


def waiting(ws: Workspace) -> int:
    """How many samples wait for a label."""
    return len(waiting_for_labels(ws, open_round(ws)))


def open_round(ws: Workspace) -> Round:
    """The round that is open."""
    with ws.database.read() as session:
        found = rounds.resume_target(session)
    assert found is not None
    return found


def serving(ws: Workspace) -> Serving:
    """What is in service."""
    with ws.database.read() as session:
        return versions.serving(session)


def history(ws: Workspace) -> list[Release]:
    """Every version."""
    with ws.database.read() as session:
        return versions.history(session)


def states(ws: Workspace) -> dict[int, str]:
    """The state of each version."""
    return {release.version: release.state for release in history(ws)}


def trail(ws: Workspace, version: int | None = None) -> list[AuditEntry]:
    """The audit trail, of one version if one is named."""
    with ws.database.read() as session:
        return audit.history(session, version=version)


def of_split(ws: Workspace, split: str) -> list[StoredSample]:
    """Every sample of a split."""
    with ws.database.read() as session:
        return samples.list_samples(session, split=split)


def labels_in_force(ws: Workspace) -> dict[str, str]:
    """Every label in force, quarantined ones too, by sample id."""
    with ws.database.read() as session:
        return {
            entry.sample.id: entry.answer
            for split in ("train", "val", "test")
            for entry in samples.labelled(session, split, include_quarantined=True)
        }
