"""Reports of live windows and of rounds: made once, kept as a snapshot, with the round in MLflow, shown on demand."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest

from db.records import NewPrediction
from db.repository import feedback, predictions, releases, reports, rounds, tasks
from flows.cli import main
from flows.errors import NothingInService, NothingToDo
from flows.registry import RoundRun
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.reporting import (
    fill_workspace,
    keep_with_round,
    page_of,
    report_round,
    report_what_is_due,
    report_window,
    snapshot_of,
)
from flows.up import report_pages
from flows.workspace import Workspace, open_workspace
from tests.db import builders
from tests.flows import homes
from tests.flows.receivers import free_port
from tests.flows.victims import ROOT
from tests.monitoring.made import WORSE, outcomes

HOUR = timedelta(hours=1)


@pytest.fixture
def ws(small: Path) -> Iterator[Workspace]:
    """A home with a v1 that was never compared, and a v2 in service whose round holds evidence."""
    opened = open_workspace(Settings.load(), SILENT).with_(clock=homes.Clock())
    paired = outcomes(WORSE, 120)
    evidence = opened.blobs.put(
        replace(paired, provenance=replace(paired.provenance, old_version=1, new_version=2)).to_bytes()
    )
    with opened.database.write() as session:
        tasks.put_task(session, builders.TASK)
        builders.accepted(session)
        two = builders.accepted(session, "second", 1)
        assert two.round_id is not None
        rounds.set_evidence(session, two.round_id, evidence, now=opened.clock())
    yield opened
    opened.database.close()


def answer(ws: Workspace, num: int, *, version: int = 2, seed: int = 0) -> None:
    """Live answers, a third of them with feedback."""
    rng = np.random.default_rng(seed)
    now = ws.clock()
    with ws.database.write() as session:
        rows = [
            NewPrediction(
                id=f"{seed}-{index}",
                version=version,
                task="digit",
                answer=str(rng.integers(3)),
                confidence=float(rng.beta(5, 2)),
                domain=str(rng.choice(["en", "es"])),
                modalities=("image", "text"),
                latency_s=float(rng.exponential(0.02)),
                detail={"entropy": float(rng.random())},
            )
            for index in range(num)
        ]
        predictions.log(session, rows, now=now)
        for row in rows[::3]:
            feedback.add(session, row.id, "1", origin="human:ann", now=now)


def test_a_window_is_compared_with_the_validation_of_its_version(ws: Workspace) -> None:
    start = ws.clock()
    answer(ws, 90)
    end = ws.clock() + HOUR
    made = report_window(ws, "drift", start=start, end=end)
    assert (made.version, made.num_rows, made.num_reference, made.round_id) == (2, 90, 120, None)
    assert made.numbers["left_out"] == ["entropy", "answer", "target"]
    assert report_window(ws, "drift", start=start, end=end) == made
    assert '"version": "2"' in snapshot_of(ws, made)
    assert "confidence" in page_of(ws, made)


def test_a_version_that_was_never_compared_is_held_to_its_first_answers(ws: Workspace) -> None:
    answer(ws, 60, version=1, seed=1)
    start = ws.clock()
    answer(ws, 60, version=1, seed=2)
    made = report_window(ws, "quality", start=start, end=ws.clock() + HOUR, version=1)
    assert (made.num_rows, made.num_reference) == (60, 60)
    assert made.numbers["left_out"] == ["target", "is_right"]


def test_a_round_is_reported_on_and_kept_with_its_run(ws: Workspace) -> None:
    run = ws.registry.log_round(
        RoundRun(
            round_id=2,
            params={},
            metrics={},
            history=[],
            dataset_name="d",
            dataset_digest="0",
            tags={},
        )
    )
    with ws.database.write() as session:
        releases.set_mlflow(session, 2, run_id=run)
    made = report_round(ws, "quality", 2)
    assert (made.round_id, made.version, made.num_rows, made.num_reference) == (2, 2, 120, 120)
    files = {path.name: path for path in (ws.home / "mlartifacts").rglob("reports/*")}
    assert files.keys() == {"quality.json", "quality.html"}
    assert files["quality.json"].read_text() == snapshot_of(ws, made)
    accuracy = [value for name, value in made.numbers.items() if name.startswith("Accuracy")]
    assert len(accuracy) == 1


def test_without_a_run_a_round_is_reported_on_all_the_same(ws: Workspace) -> None:
    made = report_round(ws, "drift", 2)
    assert not keep_with_round(ws, "drift", 2, snapshot_of(ws, made))
    with pytest.raises(NothingToDo, match="Round 1 compared no two versions"):
        report_round(ws, "drift", 1)


def test_what_is_due_is_made_once(ws: Workspace) -> None:
    answer(ws, 50)
    clock = homes.Clock(ws.clock() + timedelta(days=1))
    later = ws.with_(clock=clock)
    made = report_what_is_due(later, ["drift"])
    assert [(row.round_id, row.num_rows) for row in made] == [(2, 120), (None, 50)]
    report_what_is_due(later, ["drift"])
    with ws.database.read() as session:
        assert len(reports.list_reports(session)) == 2
    assert fill_workspace(later, ws.home / "evidently") == 2
    assert fill_workspace(later, ws.home / "evidently") == 0


@pytest.mark.slow
def test_evidently_shows_the_reports_on_pages_of_its_own(ws: Workspace, tmp_path: Path) -> None:
    report_round(ws, "drift", 2)
    service = report_pages(ws.home, free_port())
    log = (tmp_path / "pages.log").open("wb")
    environment = {**homes.small_environment(ws.home), **service.env}
    process = subprocess.Popen(service.argv, env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not service.ready():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        (project,) = httpx.get(f"{service.address}/api/projects", trust_env=False).json()
        assert project["name"] == "omniloop"
        report_round(ws, "quality", 2)
        place = f"{service.address}/api/projects/{project['id']}"
        httpx.get(f"{place}/reload", trust_env=False).raise_for_status()  # the button of the page
        assert len(httpx.get(f"{place}/reports", trust_env=False).json()) == 2
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def test_too_few_rows_or_no_version_are_said_and_leave_no_report(ws: Workspace) -> None:
    now = ws.clock()
    answer(ws, 5)
    with pytest.raises(NothingToDo, match="The current side has 5 rows"):
        report_window(ws, "drift", start=now, end=ws.clock() + HOUR)
    answer(ws, 40, version=1, seed=3)
    with pytest.raises(NothingToDo, match="reference side has 0 rows"):
        report_window(ws, "drift", start=now, end=ws.clock() + HOUR, version=1)
    with ws.database.read() as session:
        assert reports.list_reports(session) == []


def test_without_a_version_in_service_it_says_so(small: Path) -> None:
    empty = open_workspace(Settings.load(), SILENT)
    now = empty.clock()
    with pytest.raises(NothingInService, match="omniloop train"):
        report_window(empty, "drift", start=now - HOUR, end=now)
    empty.database.close()


def test_the_commands_make_list_and_show(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(*args: object) -> str:
        monkeypatch.setattr(sys, "argv", ["omniloop", "reports", *(str(arg) for arg in args)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "200")
    assert "There is no report yet" in run("list")
    assert "omniloop reports page 1" in run("make", "--round", 2)
    assert all(word in run("list") for word in ("drift", "v2", "round 2", "120"))
    out = tmp_path / "page.html"
    run("page", 1, "--out", out)
    assert "<html" in out.read_text()
