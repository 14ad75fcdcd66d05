"""The commands of rules, baselines and the watch."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from flows.telemetry import OFF
from tests.flows.terminals import widen

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`omniloop` in this process; gives exit code, output and errors."""
    widen(monkeypatch)
    for name, value in OFF.items():
        monkeypatch.setenv(name, value)

    def command(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["omniloop", *map(str, args)])
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    return command


def test_a_file_without_faults_is_said_to_be_one(small: Path, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("rules", "default")
    assert code == 0
    file = tmp_path / "rules.yaml"
    file.write_text(out)
    code, out, _ = run("rules", "check", file)
    assert code == 0
    assert "17 rules" in out


def test_every_fault_of_a_file_is_told_with_the_file(small: Path, tmp_path: Path, run: Run) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - {name: a, metric: b, bound: relative, side: lower, limit: 1, receivers: [pager]}\n")
    code, _, err = run("rules", "check", file)
    assert code == 1
    assert str(file) in err
    assert "'b' is not measured" in err


def test_the_watch_the_list_the_replay_and_the_baseline_are_shown(home: Path, run: Run) -> None:
    assert "No rule has been evaluated yet" in run("rules", "list")[1]
    assert "Nothing was recorded" in run("rules", "backtest")[1]
    assert "There is no baseline yet" in run("baseline")[1]
    code, out, err = run("watch", "--json")
    assert code == 0, err
    found = {row["rule"]: row for row in json.loads(out)}
    assert found["accuracy low"]["found"] == "no data"
    assert "disk full soon" in run("rules", "list")[1]
    assert "disk full soon" in run("rules", "backtest", "--last", "1h")[1]
    assert "instruction_following" in run("baseline")[1]
    assert run("baseline", "--why", "The camera was changed.", "--who", "ann")[0] == 0
