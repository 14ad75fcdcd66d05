"""The decision: no number that is missing, broken or old promotes anything; a person decides where the gate cannot."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.errors import IllegalMove
from db.repository import rounds
from flows.steps import validating
from flows.steps.approving import approve
from flows.steps.deciding import rejudge
from flows.steps.labelling import add_labels, waiting_for_labels
from flows.steps.rounds import run_round
from flows.workspace import Workspace
from monitoring.comparison import Comparison
from monitoring.comparison import compare as real_compare
from monitoring.moments import nothing
from omni_model.data.splits import split_of
from omni_model.sample import Sample
from tests.flows import homes
from tests.flows.homes import label_waiting, run_whole_round, serving, states

Spoil = Callable[[list[Comparison]], list[Comparison]]
NAN = float("nan")


def nan_in(metric: str) -> Spoil:
    """The metric could not be measured."""
    broken: dict[str, Any] = {"new": NAN, "relative_change": NAN, "low": NAN, "high": NAN, "moments": nothing()}
    return lambda rows: [replace(row, **broken) if row.metric == metric else row for row in rows]


def without(metric: str) -> Spoil:
    """The metric is missing."""
    return lambda rows: [row for row in rows if row.metric != metric]


def on_few(num_items: int) -> Spoil:
    """Everything rests on hardly any items."""
    return lambda rows: [replace(row, num_items=num_items) for row in rows]


def aged(**age: float) -> Spoil:
    """The comparison was made on another day."""

    def spoil(rows: list[Comparison]) -> list[Comparison]:
        made = rows[0].provenance
        return [replace(row, provenance=replace(made, measured_at=made.measured_at - timedelta(**age))) for row in rows]

    return spoil


def against_another(rows: list[Comparison]) -> list[Comparison]:
    """The comparison was made with a version that is not in service."""
    return [replace(row, provenance=replace(row.provenance, old_version=7)) for row in rows]


SPOILT: dict[str, tuple[Spoil, str]] = {
    "NaN accuracy": (nan_in("accuracy"), "accuracy"),
    "NaN balanced accuracy": (nan_in("balanced_accuracy"), "balanced_accuracy"),
    "NaN instruction following": (nan_in("instruction_following"), "instruction_following"),
    "NaN calibration": (nan_in("ece"), "ece"),
    "no accuracy": (without("accuracy"), "was not measured"),
    "no instruction following": (without("instruction_following"), "was not measured"),
    "few items": (on_few(3), "3"),
    "a month old": (aged(days=30), "hours old"),
    "from tomorrow": (aged(days=-1), "hours old"),
    "another version": (against_another, "made against v7, but v1 is in service"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_comparison_never_promotes(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    spoil, reason = SPOILT[what]
    monkeypatch.setattr(validating, "compare", lambda *args, **kwargs: spoil(real_compare(*args, **kwargs)))
    report = run_whole_round(ws, right)
    assert report.decision is not None
    assert report.decision.verdict == "inconclusive"
    assert any(reason in sentence for sentence in report.decision.reasons), report.decision.reasons
    assert states(ws) == {1: "accepted", 2: "awaiting_approval"}
    assert (serving(ws).version, serving(ws).generation) == (1, 1)


def test_an_unspoilt_comparison_promotes(ws: Workspace, right: dict[str, str]) -> None:
    """Else the test above would prove nothing."""
    report = run_whole_round(ws, right)
    assert report.decision is not None
    assert (report.decision.verdict, report.decision.release.state) == ("accept", "probation")
    assert (serving(ws).version, serving(ws).previous_version) == (2, 1)


def test_a_nan_figure_does_not_break_the_headline(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validating, "compare", lambda *args, **kwargs: [])
    report = run_whole_round(ws, right)
    assert report.decision is not None
    assert report.decision.verdict == "inconclusive"
    assert states(ws)[2] == "awaiting_approval"


def test_a_damaged_candidate_is_rejected_and_its_round_quarantined(ws: Workspace, right: dict[str, str]) -> None:
    strict = with_settings(ws, gate={"max_relative_fall": 0.05}, elastic={"learning_rate": 0.3, "gradient_clip": 1e3})
    report = run_whole_round(strict, right)
    assert report.decision is not None
    assert report.decision.verdict == "reject", report.decision.reasons
    assert states(ws) == {1: "accepted", 2: "rejected"}
    assert serving(ws).version == 1
    with ws.database.read() as session:
        assert rounds.get_round(session, report.round.id).quarantined_at is not None
    assert homes.trail(ws, 2)[-1].numbers["verdict"] == "reject"


def test_a_past_decision_turns_under_another_threshold_and_moves_nothing(ws: Workspace, right: dict[str, str]) -> None:
    report = run_whole_round(with_settings(ws, elastic={"learning_rate": 0.3, "gradient_clip": 1e3}), right)
    before = homes.trail(ws)
    lenient = replace(ws.settings.gate, max_relative_fall=0.99, confidence=0.6)
    strict = replace(ws.settings.gate, max_relative_fall=0.01)
    assert rejudge(ws, report.round, strict).decision == "reject"
    assert rejudge(ws, report.round, lenient).decision != "reject"
    assert homes.trail(ws) == before


def test_a_round_that_compared_nothing_cannot_be_judged_again(ws: Workspace) -> None:
    with ws.database.read() as session:
        first = rounds.get_round(session, 1)
    with pytest.raises(ValueError, match="Round 1 compared nothing"):
        rejudge(ws, first, ws.settings.gate)


# -- a person ---------------------------------------------------------------------------------------------------------


def test_under_the_manual_policy_an_acceptable_candidate_waits_for_a_person(
    ws: Workspace, right: dict[str, str]
) -> None:
    report = run_whole_round(with_settings(ws, loop={"promotion": "manual"}), right)
    assert report.decision is not None
    assert (report.decision.verdict, states(ws)[2]) == ("accept", "awaiting_approval")
    assert serving(ws).version == 1
    approve(ws, 2, who="ann", why="it is better")
    assert states(ws)[2] == "probation"
    assert homes.trail(ws, 2)[-1].who == "ann"


def test_a_person_can_approve_the_very_first_version(
    small: Path, labelled: list[Sample], arriving: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_LOOP__PROMOTION", "manual")
    homes.build(small, labelled, arriving)
    ws = homes.opened()
    assert states(ws) == {1: "awaiting_approval"}
    approve(ws, 1, who="ann", why="a start")
    assert (states(ws), serving(ws).version) == ({1: "accepted"}, 1)
    ws.database.close()


def test_while_a_version_is_on_probation_the_next_candidate_waits_for_a_person(
    ws: Workspace, right: dict[str, str]
) -> None:
    run_whole_round(ws, right)
    report = run_whole_round(ws, right, "schedule")
    assert report.decision is not None
    assert states(ws) == {1: "accepted", 2: "probation", 3: "awaiting_approval"}
    assert "v2 is still on probation" in homes.trail(ws, 3)[-1].why
    with pytest.raises(IllegalMove, match="while version 2 is on probation"):
        approve(ws, 3, who="ann", why="now")


def test_a_round_with_one_label_short_waits(ws: Workspace, right: dict[str, str]) -> None:
    run_round(ws, "drift")
    asked = waiting_for_labels(ws, homes.open_round(ws))
    add_labels(ws, [(id_, right[id_]) for id_ in asked[1:]], origin="human:ann")
    report = run_round(ws, "resume")
    assert (report.num_labels_missing, report.round.step) == (1, "filtered")
    label_waiting(ws, right)
    assert run_round(ws, "resume").decision is not None


def with_settings(ws: Workspace, **sections: dict[str, Any]) -> Workspace:
    """The same workspace under other settings."""
    changed = {name: replace(getattr(ws.settings, name), **values) for name, values in sections.items()}
    return ws.with_(settings=ws.settings.model_copy(update=changed))


def test_without_a_validation_label_a_first_version_is_made_and_nothing_replaces_it_by_itself(
    small: Path, labelled: list[Sample], arriving: list[Sample], right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_LOOP__VALIDATION_LABELS", "0")
    train = [row for row in labelled if split_of(row.item) == "train"]
    homes.build(small, train, arriving)
    ws = homes.opened()
    report = run_whole_round(ws, right)
    assert report.decision is not None
    assert (report.decision.verdict, states(ws)) == ("inconclusive", {1: "accepted", 2: "awaiting_approval"})
    ws.database.close()
