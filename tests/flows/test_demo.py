"""The demo as a person starts it: it tells its story to the end, and writes every figure that it shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.demo.run import apart, cleared, run_demo
from flows.errors import HomeError
from flows.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
KEYS = {
    "versions",
    "auto_rollback",
    "gate_rejected",
    "final_accuracy",
    "static_accuracy",
    "joint_accuracy",
    "forgetting",
    "lift_over_random",
    "frozen_unchanged",
    "wall_s",
}


def test_the_demo_keeps_away_from_the_stores_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "BLOB_URL", "MLFLOW_URI"):
        monkeypatch.setenv(f"OMNI_{name}", "postgresql://production")
    settings = apart(tmp_path / "demo")
    for url in (settings.database_url, settings.blob_url, settings.mlflow_uri):
        assert str(tmp_path / "demo") in url


def test_the_demo_clears_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(HomeError, match="is not the demo's"):
        cleared(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
    assert cleared(cleared(tmp_path / "demo")) == tmp_path / "demo"


def test_figures_that_cannot_be_written_are_told_before_the_story_begins(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_demo(Settings.load(home=tmp_path / "home"), Console(), tmp_path / "nowhere" / "out.json")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_promotes_rejects_rolls_back_and_ends_far_better_than_it_began(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "demo", "--json", str(tmp_path / "out.json")],
        cwd=ROOT,
        env={**kept, "OMNI_HOME": str(tmp_path / "home"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    figures = json.loads((tmp_path / "out.json").read_text())
    assert set(figures) >= KEYS
    assert figures["auto_rollback"] is True
    assert figures["gate_rejected"] is True
    assert figures["frozen_unchanged"] is True
    assert figures["final_accuracy"] > figures["static_accuracy"] + 0.2
    versions = {row["version"]: row for row in figures["versions"]}
    assert {row["state"] for row in versions.values()} == {"accepted", "rejected", "rolled_back"}
    assert all(row["reason"] for row in versions.values())
    for version, row in versions.items():
        assert row["parent"] is None or versions[row["parent"]]["state"] == "accepted", (
            f"v{version} starts from a bad one"
        )
    assert "What happened to each version" in done.stdout
    assert "Look next" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
