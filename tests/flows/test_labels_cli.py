"""`omniloop labels` and `omniloop data`: Label Studio's format, undo, disagreements, samples set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from db.label_studio import result
from db.repository import label_queue, labelling, labels
from flows.cli import app
from flows.settings import Settings
from flows.telemetry import OFF
from flows.workspace import Workspace, open_workspace
from tests.dashboards import lived, places


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A home with six samples; two have a label, two wait for one."""
    for name, value in {**OFF, "OMNI_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    place = places.made(tmp_path / "home")
    lived.add_samples(place, 6)
    with place.database.write() as session:
        label_queue.enqueue(session, ["s-001", "s-004"], round_id=None, now=place.clock())
    place.database.close()
    opened = open_workspace(Settings.load())
    yield opened
    opened.database.close()


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def answer_of(ws: Workspace, sample_id: str) -> tuple[str, str] | None:
    with ws.database.read() as session:
        label = labels.active_label(session, sample_id)
    return None if label is None else (label.answer, label.origin)


def test_label_studio_gets_tasks_and_config_and_gives_labels(ws: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "tasks.json"
    said = run("labels", "export", out, "--format", "label-studio")
    assert said.output == f"2 samples written to {out}; the labelling config to {out.with_suffix('.xml')}.\n"
    assert ElementTree.parse(out.with_suffix(".xml")).getroot().tag == "View"
    tasks = json.loads(out.read_text())
    assert [task["data"]["sample_id"] for task in tasks] == ["s-001", "s-004"]
    assert tasks[0]["data"]["audio"].startswith("data:audio/")
    for task in tasks:
        task["annotations"] = [{"completed_by": {"email": "ann@example.org"}, "result": result("7")}]
    tasks[1]["annotations"][0]["result"] = result("eleven")
    out.write_text(json.dumps(tasks))
    wrong = run("labels", "import", out, "--format", "label-studio")
    assert isinstance(wrong.exception, ValueError)
    assert "'eleven' is no answer" in str(wrong.exception)
    assert answer_of(ws, "s-001") is None
    tasks[1]["annotations"][0]["result"] = result("8")
    out.write_text(json.dumps(tasks))
    assert "2 new labels, 0 known" in run("labels", "import", out, "--format", "label-studio").output
    assert answer_of(ws, "s-004") == ("8", "human:ann@example.org")
    assert isinstance(run("labels", "export", out, "--format", "csv").exception, ValueError)


def test_what_is_contested_is_listed_and_settled(ws: Workspace) -> None:
    assert run("labels", "disagreements").output == "Nothing is contested.\n"
    assert "until it is settled" in run("labels", "disagree", "s-003", "8", "--why", "look", "--who", "ann").output
    listed = run("labels", "disagreements").output
    assert "1  s-003: ann says '8' instead of '3' (manifest): look" in listed
    assert run("labels", "settle", 1, "replace", "--why", "yes", "--who", "bob").output == "s-003 is '8'.\n"
    assert answer_of(ws, "s-003") == ("8", "human:ann")
    assert isinstance(run("labels", "disagree", "s-001", "8", "--why", "look").exception, ValueError)


def test_the_last_label_is_taken_back(ws: Workspace) -> None:
    with ws.database.write() as session:
        entry = label_queue.next_to_label(session, who="ann", now=ws.clock())
        assert entry is not None
        labelling.answer_entry(session, entry.id, "5", who="ann", now=ws.clock())
    assert run("labels", "undo", "--who", "ann").output == "'5' of s-001 is taken back.\n"
    assert answer_of(ws, "s-001") is None


def test_a_sample_is_set_aside_and_used_again(ws: Workspace) -> None:
    assert run("data", "quarantine", "s-002", "--why", "blurred").output == "s-002 is in quarantine.\n"
    assert run("data", "lift-quarantine", "s-002", "--why", "sharp").output == "s-002 may be used again.\n"
    assert run("data", "lift-quarantine", "s-002", "--why", "sharp").exit_code == 1
