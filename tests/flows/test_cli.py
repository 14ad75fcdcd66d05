"""The command line: each command does its work on a small home, and an error is one line and exit code 1."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from db.repository import rounds, triggers
from flows.cli import app, main
from flows.home import exclusive
from flows.steps.requesting import request_round
from flows.steps.rounds import run_round
from flows.telemetry import OFF
from flows.workspace import Workspace
from omni_model.data.splits import split_of
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample, dump_task
from tests.flows import homes
from tests.flows.terminals import widen


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`omniloop` in this process, on a terminal that is wide enough for every table."""
    widen(monkeypatch)
    for name, value in OFF.items():
        monkeypatch.setenv(name, value)

    def command(*args: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["omniloop", *(str(arg) for arg in args)])
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return Said(code, said.out, said.err)

    return command


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the application."""
    if not hasattr(group, "commands"):
        yield path
        return
    for name, command in group.commands.items():
        yield from commands(command, (*path, name))


COMMANDS = list(commands(typer.main.get_command(app)))


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(run: Run, path: tuple[str, ...]) -> None:
    said = run(*path, "--help")
    assert said.code == 0
    assert f"omniloop {' '.join(path)}" in said.out
    assert len(said.out.splitlines()) >= 5


def test_a_wrong_command_line_is_exit_code_2(run: Run) -> None:
    said = run("models", "show", "first")
    assert said.code == 2
    assert "Traceback" not in said.err
    assert run("nonsense").code == 2


# -- a home from nothing to answers -----------------------------------------------------------------------------------


def test_data_goes_in_is_counted_listed_and_deleted(
    run: Run, small: Path, tmp_path: Path, labelled: list[Sample]
) -> None:
    dump_task(homes.TASK, tmp_path / "digit.yaml")
    assert "Task digit has 10 answers" in run("data", "add-task", tmp_path / "digit.yaml").out
    manifest = write_manifest(labelled[:6], tmp_path / "arrival")
    with manifest.open("a") as file:
        file.write('{"id": "x", "task": "digit", "text": "two", "answer": "11"}\n')
    said = run("data", "ingest", manifest)
    assert said.code == 0
    assert "6 new samples, 0 already known, 6 labels, 1 rows quarantined" in said.out
    assert "line 7: The answer '11' is not in the answer set" in said.out
    assert "line 7 (x): The answer '11'" in run("data", "faults").out
    row = next(line for line in run("data", "list").out.splitlines() if "│ en " in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["en", "6", "0", "0"]
    gone = run("data", "delete", labelled[0].id, "--why", "asked for")
    assert gone.out.startswith(f"{labelled[0].id} is deleted, with 1 labels, 0 answers, ")
    assert "Versions that learnt it: none. Versions that descend from those: none." in gone.out
    again = run("data", "delete", labelled[0].id, "--why", "asked for")
    assert (again.code, again.err.count("\n")) == (1, 1)


def test_a_deleted_sample_names_the_versions_that_learnt_it(run: Run, home: Path, labelled: list[Sample]) -> None:
    learnt = next(row for row in labelled if split_of(row.item) == "train")
    assert "Versions that learnt it: v1." in run("data", "delete", learnt.id, "--why", "asked for").out


def test_the_label_queue_goes_out_to_a_file_and_back_in(
    run: Run, ws: Workspace, right: dict[str, str], tmp_path: Path
) -> None:
    run_round(ws, "drift")
    assert run("labels", "status").out == "20 samples wait for a label.\n"
    out = tmp_path / "queue.jsonl"
    assert run("labels", "export", out).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 20
    assert all((tmp_path / row[name]).is_file() for row in rows for name in ("image", "audio", "text") if name in row)
    rows[0]["answer"] = "11"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wrong = run("labels", "import", out)
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "'11' is no answer of task digit" in wrong.err
    assert homes.waiting(ws) == 20, "none is taken if one is wrong"
    out.write_text("".join(json.dumps({**row, "answer": right[row["id"]]}) + "\n" for row in rows[:19]))
    assert run("labels", "import", out, "--who", "ann").out == "19 new labels of 19 answers.\n"
    assert run("labels", "import", out, "--who", "ann").out == "0 new labels of 19 answers.\n"
    assert run("labels", "status").out == "1 samples wait for a label.\n"


def test_predictions_come_with_ids_that_feedback_refers_to(
    run: Run, home: Path, tmp_path: Path, arriving: list[Sample], right: dict[str, str]
) -> None:
    rows = homes.unlabelled(arriving[:4])
    manifest = write_manifest(rows, tmp_path / "traffic")
    with manifest.open("a") as file:
        file.write('{"id": "broken", "task": "digit", "image": "nowhere.png"}\n')
    said = run("predict", manifest)
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [row["sample"] for row in answers] == [row.id for row in rows]
    assert "nowhere.png" in said.err, "what could not be read is told beside the answers"
    told = tmp_path / "feedback.jsonl"
    lines = [{"prediction": row["prediction"], "answer": right[row["sample"]]} for row in answers]
    told.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("feedback", told).out == "4 new of 4.\n"
    assert run("feedback", told).out == "0 new of 4.\n"
    told.write_text('{"prediction": "unheard-of", "answer": "1"}\n')
    unknown = run("feedback", told)
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)
    out = tmp_path / "answers.jsonl"
    assert run("predict", manifest, "--out", out).code == 0
    assert len(out.read_text().splitlines()) == 4


# -- rounds and versions ----------------------------------------------------------------------------------------------


def test_rounds_are_listed_shown_and_judged_again(run: Run, ws: Workspace, right: dict[str, str]) -> None:
    homes.run_whole_round(ws, right)
    listed = run("rounds", "list").out
    assert "drift" in listed
    assert "probation" in listed
    shown = json.loads(run("rounds", "show", 2).out)
    assert (shown["round"], shown["base_version"], shown["decided"]["verdict"]) == (2, 1, "accept")
    strict = run("rounds", "rejudge", 2, "--max-relative-fall", 0.0001).out
    assert strict.startswith("Then: accept. Under 0.0% at 95%: ")
    assert "accept." not in strict.splitlines()[0].partition("95%")[2]
    assert run("rounds", "show", 9).code == 1


def test_requests_for_a_round_are_listed_and_withdrawn(run: Run, ws: Workspace) -> None:
    assert run("rounds", "requests").out == "No request waits. `omniloop retrain` runs a round now.\n"
    request_round(ws, "manual", who="bob", why="new kiosk")
    request = next(iter(waiting_requests(ws)))
    assert "new kiosk" in run("rounds", "requests").out
    gone = run("rounds", "withdraw", request, "--why", "the kiosk is broken", "--who", "ann")
    assert gone.out == f"Request {request} is withdrawn.\n"
    assert waiting_requests(ws) == []
    again = run("rounds", "withdraw", request, "--why", "again")
    assert (again.code, again.err.count("\n"), "it was withdrawn" in again.err) == (1, 1, True)


def waiting_requests(ws: Workspace) -> list[int]:
    with ws.database.read() as session:
        return [trigger.id for trigger in triggers.pending(session)]


def test_versions_are_listed_shown_compared_and_moved_with_who_and_why(
    run: Run, ws: Workspace, right: dict[str, str]
) -> None:
    homes.run_whole_round(ws, right)
    listed = run("models", "list").out
    assert "v2 ← in service" in listed
    shown = run("models", "show", 2)
    assert "v2 is probation; from v1, round 2." in shown.out
    assert "gate" in shown.out
    compared = run("models", "compare", 1, 2)
    assert "balanced_accuracy" in compared.out
    assert "domain=es" in compared.out
    taken = run("models", "rollback", 2, "--why", "a complaint", "--who", "ann")
    assert taken.out == "v2 is rolled back; v1 is in service.\n"
    assert "a complaint" in run("models", "show", 2).out
    again = run("models", "rollback", 2, "--why", "again")
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert "rolled_back" in again.err
    lifted = run("rounds", "lift-quarantine", 2, "--why", "the labels were fine")
    assert lifted.out == "The labels of round 2 count again.\n"
    with ws.database.read() as session:
        assert rounds.get_round(session, 2).quarantined_at is None


@pytest.mark.parametrize(
    ("verb", "said"),
    [("approve", "v2 is probation; v2 is in service.\n"), ("reject", "v2 is rejected; v1 is in service.\n")],
)
def test_a_person_decides_on_a_candidate_that_waits(
    run: Run, home: Path, right: dict[str, str], monkeypatch: pytest.MonkeyPatch, verb: str, said: str
) -> None:
    monkeypatch.setenv("OMNI_LOOP__PROMOTION", "manual")
    ws = homes.opened()
    homes.run_whole_round(ws, right)
    ws.database.close()
    assert run("models", verb, 2, "--why", "I have looked at it", "--who", "ann").out == said
    if verb == "approve":
        assert run("models", "accept", 2, "--why", "enough").out == "v2 is accepted; v2 is in service.\n"


def test_a_move_without_a_reason_is_refused(run: Run, home: Path) -> None:
    assert run("models", "rollback", 1).code == 2


def test_reconcile_says_where_the_aliases_point(run: Run, home: Path) -> None:
    said = run("reconcile").out
    assert said.startswith("MLflow's aliases: champion → 1, previous → none, challenger → none.")


def test_a_round_can_be_asked_for(run: Run, home: Path) -> None:
    assert run("request", "drift").out == "A round is requested (drift, asked 1 times).\n"
    assert run("request", "drift").out == "A round is requested (drift, asked 2 times).\n"
    wrong = run("request", "weather")
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "new_labels" in wrong.err


def test_a_home_without_a_version_says_how_to_make_one(run: Run, small: Path, tmp_path: Path) -> None:
    assert "omniloop train" in run("models", "list").out
    dump_task(homes.TASK, tmp_path / "digit.yaml")
    run("data", "add-task", tmp_path / "digit.yaml")
    manifest = write_manifest(homes.domain("en", sizes={"train": 1}), tmp_path / "traffic")
    said = run("predict", manifest)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "omniloop train" in said.err


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "mend"),
    [
        (["data", "ingest", "nowhere.jsonl"], "No manifest at nowhere.jsonl. Correct the path"),
        (["data", "add-task", "nowhere.yaml"], "No task spec at nowhere.yaml"),
        (["labels", "import", "nowhere.jsonl"], "Correct the path"),
        (["feedback", "nowhere.jsonl"], "Correct the path"),
        (["labels", "export", "no/such/folder/file.jsonl"], ""),
        (["models", "show", "9"], "There is no version 9. List them with `omniloop models list`"),
        (["models", "compare", "1", "9"], "There is no version 9"),
        (["rounds", "rejudge", "1"], "Round 1 compared nothing"),
        (["rounds", "rejudge", "1", "--confidence", "95"], "For 95 % give 0.95"),
        (["rounds", "lift-quarantine", "1", "--why", "x"], "not in quarantine"),
        (["data", "delete", "nobody", "--why", "x"], "no sample 'nobody'"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_that_names_the_mend(
    run: Run, home: Path, args: list[str], mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(*args)
    if said.code == 0:
        assert args[0] == "labels", "an export makes the folder it needs"
        return
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert mend in said.err


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("OMNI_GATE__MAX_RELATIV_FALL", "0.05", "Did you mean OMNI_GATE__MAX_RELATIVE_FALL?"),
        ("OMNI_WHATEVER_ELSE", "1", "`omniloop doctor` lists the names"),
        ("OMNI_GATE__MAX_RELATIVE_FALL", "5", "For 5 % give 0.05"),
        ("OMNI_TRAIN__EPOCHS", "many", "OMNI_TRAIN__EPOCHS"),
        ("OMNI_GATE__PRIMARY", "[accuracy]", "must be JSON"),
        ("OMNI_DATABASE_URL", "mysql://me@here/loop", "SQLite or PostgreSQL"),
        ("OMNI_LOOP__PROMOTION", "never", "OMNI_LOOP__PROMOTION"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, mend: str
) -> None:
    monkeypatch.setenv(name, value)
    said = run("models", "list")
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert mend in said.err


def test_a_home_that_cannot_be_written_is_one_line(run: Run, small: Path) -> None:
    small.parent.mkdir(parents=True, exist_ok=True)
    small.write_text("a file")
    said = run("models", "list")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "OMNI_HOME" in said.err


def test_a_bug_is_shown_with_its_traceback(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("db.repository.versions.history", broken)
    with pytest.raises(KeyError, match="a bug"):
        run("models", "list")


def test_the_doctors_exit_code_tells_whether_all_is_well(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("doctor").code == 0
    monkeypatch.setenv("OMNI_WHATEVER_ELSE", "1")
    assert run("doctor").code == 1


# -- as a process -----------------------------------------------------------------------------------------------------


def omniloop(home: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """`omniloop` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "from flows.cli import main; main()", *(str(arg) for arg in args)],
        cwd=Path(__file__).parents[2],
        env={**homes.small_environment(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_process_tells_an_error_in_one_line_too(home: Path) -> None:
    done = omniloop(home, "models", "show", 9)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: There is no version 9. List them with `omniloop models list`.\n"


def test_a_second_process_may_look_while_a_round_runs_but_not_run_one(ws: Workspace, home: Path) -> None:
    script = (
        "from flows.steps.rounds import run_round; from tests.flows.homes import opened; run_round(opened(), 'drift')"
    )
    with exclusive(home, "a round"):
        assert omniloop(home, "models", "list").returncode == 0
        second = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            cwd=Path(__file__).parents[2],
            env=homes.small_environment(home),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert second.returncode == 1
    assert f"Another process (pid {os.getpid()}) holds a round in {home}" in second.stderr.splitlines()[-1]
