"""A round with a time budget tunes as the trials chose, and goes on with that choice after a kill."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from db.records import Round
from db.repository import rounds
from flows.steps import profiling
from flows.steps.rounds import run_round
from flows.workspace import Workspace
from omni_model.errors import CheckpointError
from tests.flows import homes


@pytest.fixture
def budgeted(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    homes.set_small(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("OMNI_ELASTIC__PROFILE__BUDGET_SECONDS", "60")
    homes.copy(template, tmp_path / "home")
    ws = homes.opened()
    yield ws
    ws.database.close()


def second(ws: Workspace) -> Round:
    with ws.database.read() as session:
        return rounds.get_round(session, 2)


def choices(ws: Workspace) -> list[Path]:
    return list(ws.round_folder(2).glob(f"training-*/{profiling.FILE}"))


def test_a_round_is_tuned_as_the_trials_chose(budgeted: Workspace, right: dict[str, str]) -> None:
    homes.run_whole_round(budgeted, right)
    tuned: Mapping[str, Any] = second(budgeted).outputs["tuned"]
    profile, fit = tuned["profile"], tuned["fit"]
    assert profile["fits"]
    assert profile["budget_seconds"] == 60
    assert profile["moving"] in [trial["moving"] for trial in profile["trials"]]
    assert fit["epochs"] == profile["epochs"] <= budgeted.settings.elastic.epochs
    assert fit["frozen_digest_before"] == fit["frozen_digest_after"]


def test_a_killed_training_goes_on_with_its_first_choice(
    budgeted: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round(budgeted, "drift")
    homes.label_waiting(budgeted, right)
    with homes.stopping_at("tune.epoch"):
        run_round(budgeted, "resume")
    (path,) = choices(budgeted)
    kept = json.loads(path.read_text())

    def never(*arguments: object, **more: object) -> None:
        raise AssertionError("The choice was made a second time.")

    monkeypatch.setattr(profiling, "micro_profile", never)
    run_round(budgeted, "resume")
    assert second(budgeted).outputs["tuned"]["profile"] == kept


def test_a_damaged_choice_is_named(budgeted: Workspace, right: dict[str, str]) -> None:
    run_round(budgeted, "drift")
    homes.label_waiting(budgeted, right)
    with homes.stopping_at("tune.epoch"):
        run_round(budgeted, "resume")
    (path,) = choices(budgeted)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"profile\.json cannot be read.*Delete it"):
        run_round(budgeted, "resume")


def test_without_a_budget_nothing_is_tried(
    template: Path, right: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.set_small(monkeypatch, tmp_path / "home")
    homes.copy(template, tmp_path / "home")
    ws = homes.opened()
    homes.run_whole_round(ws, right)
    assert "profile" not in second(ws).outputs["tuned"]
    assert choices(ws) == []
    ws.database.close()
