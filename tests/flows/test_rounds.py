"""Rounds: one for the same work, one at a time, always from the last accepted version, and never stuck."""

from dataclasses import replace
from pathlib import Path

import pytest

from db.errors import IllegalMove
from db.repository import labels, releases, rounds, triggers
from flows.errors import HomeError, NothingToDo
from flows.home import exclusive
from flows.settings import Settings
from flows.steps import tuning
from flows.steps.rounds import do_decide, open_round, run_round, run_steps
from flows.steps.watching import watch_probation
from flows.workspace import Workspace, open_workspace
from omni_model.sample import Sample
from tests.flows import homes
from tests.flows.homes import label_waiting, run_whole_round, serving, states


def with_loop(ws: Workspace, **changes: object) -> Workspace:
    """The same workspace under other settings of the loop."""
    loop = replace(ws.settings.loop, **changes)  # type: ignore[arg-type]
    return ws.with_(settings=ws.settings.model_copy(update={"loop": loop}))


def accept(ws: Workspace, version: int) -> None:
    """A person ends a probation well."""
    with ws.database.write() as session:
        releases.accept(session, version, who="ann", why="seen enough", now=ws.clock())


# -- once -------------------------------------------------------------------------------------------------------------


def test_the_same_trigger_on_the_same_data_under_the_same_settings_trains_once(
    ws: Workspace, right: dict[str, str], arriving: list[Sample]
) -> None:
    homes.label(ws, arriving, right)
    report = run_round(ws, "drift")
    assert report.decision is not None
    with pytest.raises(NothingToDo, match=f"Round {report.round.id} has answered 'drift'"):
        run_round(ws, "drift")
    assert sorted(states(ws)) == [1, 2]


def test_other_settings_are_another_round(ws: Workspace) -> None:
    first = open_round(ws, "drift")
    with ws.database.write() as session:
        rounds.close(session, first.id, "nothing_to_train", now=ws.clock())
    with pytest.raises(NothingToDo):
        open_round(ws, "drift")
    assert open_round(with_loop(ws, seed=1), "drift").id != first.id


def test_a_trigger_during_a_round_is_kept_counted_and_answered_by_the_next(
    ws: Workspace, right: dict[str, str]
) -> None:
    opened = run_round(ws, "drift").round
    for _ in range(2):
        assert run_round(ws, "schedule").round.id == opened.id
    with ws.database.read() as session:
        (waiting,) = triggers.pending(session)
    assert (waiting.kind, waiting.num_requests) == ("schedule", 2)
    label_waiting(ws, right)
    run_round(ws, "resume")
    following = run_round(ws, "schedule").round
    with ws.database.read() as session:
        assert triggers.pending(session) == []
        taken = next(row for row in triggers.list_triggers(session) if row.id == waiting.id)
    assert taken.round_id == following.id != opened.id


def test_a_second_process_in_the_same_home_is_refused_while_a_round_runs(ws: Workspace) -> None:
    with exclusive(ws.home, "a round"), pytest.raises(HomeError, match=r"pid \d+\) holds a round .* OMNI_HOME"):
        run_round(ws, "drift")
    assert run_round(ws, "drift").round.is_open


def test_a_step_out_of_its_turn_is_refused_with_the_command_that_is_due(ws: Workspace) -> None:
    with pytest.raises(ValueError, match="No round is open"):
        run_steps(ws, do_decide)
    run_round(ws, "drift")
    with pytest.raises(ValueError, match="its next step is `omniloop finetune`"):
        run_steps(ws, do_decide)


@pytest.mark.parametrize("trigger", ["", "weekly", "Drift"])
def test_an_unknown_trigger_is_refused_with_the_known_ones(ws: Workspace, trigger: str) -> None:
    with pytest.raises(ValueError, match="manual"):
        run_round(ws, trigger)


def test_there_is_nothing_to_resume_without_an_open_round(ws: Workspace) -> None:
    with pytest.raises(NothingToDo, match="No round is open"):
        run_round(ws, "resume")


# -- from the last accepted version -----------------------------------------------------------------------------------


def test_a_round_starts_from_the_version_accepted_last(ws: Workspace, right: dict[str, str]) -> None:
    run_whole_round(ws, right)
    assert open_round(ws, "manual").base_version == 1, "v2 is on probation, not accepted"
    close_open(ws)
    accept(ws, 2)
    assert open_round(ws, "manual").base_version == 2


def test_a_round_does_not_start_from_a_rejected_version(ws: Workspace, right: dict[str, str]) -> None:
    run_whole_round(with_loop(ws, promotion="manual"), right)
    with ws.database.write() as session:
        releases.reject(session, 2, who="ann", why="no", now=ws.clock())
    third = run_round(with_loop(ws, min_new_labels=1), "manual").round
    assert third.base_version == 1
    assert serving(ws).version == 1


def test_a_round_does_not_start_from_a_version_that_was_rolled_back(betrayed: Path, small: Path) -> None:
    homes.copy(betrayed, small)
    ws = open_workspace(Settings.load())
    watch_probation(ws)
    assert states(ws) == {1: "accepted", 2: "rolled_back"}
    assert open_round(ws, "manual").base_version == 1
    ws.database.close()


def close_open(ws: Workspace) -> None:
    """End the open round without a result."""
    with ws.database.write() as session:
        rounds.close(session, homes.open_round(ws).id, "nothing_to_train", now=ws.clock())


# -- never stuck ------------------------------------------------------------------------------------------------------


def test_too_few_new_labels_end_the_round_and_keep_the_labels(ws: Workspace, right: dict[str, str]) -> None:
    ws = with_loop(ws, min_new_labels=1000)
    run_round(ws, "drift")
    asked = label_waiting(ws, right)
    report = run_round(ws, "resume")
    assert (report.round.outcome, report.decision) == ("nothing_to_train", None)
    assert set(asked) <= set(homes.labels_in_force(ws))


def test_a_round_whose_base_was_replaced_meanwhile_is_asked_for_again_with_its_labels(
    ws: Workspace, right: dict[str, str]
) -> None:
    run_whole_round(ws, right)
    run_round(ws, "schedule")
    asked = label_waiting(ws, right)
    accept(ws, 2)
    report = run_round(ws, "resume")
    assert (report.round.outcome, report.round.base_version) == ("superseded", 1)
    again = run_whole_round(ws, right, "schedule")
    assert again.round.base_version == 2
    with ws.database.read() as session:
        assert triggers.pending(session) == []
        learnt = {row.sample_id for row in rounds.round_samples(session, again.round.id)}
    assert set(asked) & {row.id for row in homes.of_split(ws, "train")} <= learnt


def test_a_candidate_whose_base_was_taken_back_is_refused_and_its_labels_stay_good(
    ws: Workspace, right: dict[str, str]
) -> None:
    run_whole_round(ws, right)
    accept(ws, 2)
    stop_before_decision(ws, right)
    with ws.database.write() as session:
        releases.rollback(session, 2, who="ann", why="a complaint", now=ws.clock())
    report = run_round(ws, "resume")
    assert states(ws) == {1: "accepted", 2: "rolled_back", 3: "rejected"}
    assert report.round.outcome == "rejected"
    assert report.round.quarantined_at is None
    with ws.database.read() as session:
        given = labels.labels_of_round(session, report.round.id)
        assert [waiting.kind for waiting in triggers.pending(session)] == ["schedule"]
    assert given
    assert not any(label.quarantined_at for label in given)


@pytest.mark.parametrize(("verb", "state"), [("promote", "probation"), ("reject", "rejected")])
def test_a_person_who_is_faster_than_the_gate_wins_and_the_round_ends(
    ws: Workspace, right: dict[str, str], verb: str, state: str
) -> None:
    stop_before_decision(ws, right)
    with ws.database.write() as session:
        getattr(releases, verb)(session, 2, who="ann", why="I have looked at it", now=ws.clock())
    report = run_round(ws, "resume")
    assert states(ws)[2] == state
    assert (report.round.is_open, report.round.outcome) == (False, state)
    assert [entry.who for entry in homes.trail(ws, 2) if entry.to_state == state] == ["ann"]
    assert report.decision is not None
    assert "ann" in report.decision.reasons[0]


def test_a_gate_that_is_faster_than_a_person_wins_and_the_person_is_told(ws: Workspace, right: dict[str, str]) -> None:
    stop_before_decision(ws, right)
    run_round(ws, "resume")
    assert states(ws)[2] == "probation"
    with (
        ws.database.write() as session,
        pytest.raises(IllegalMove, match=r"is probation and cannot become rejected\. Allowed"),
    ):
        releases.reject(session, 2, who="ann", why="too late", now=ws.clock())
    with (
        ws.database.write() as session,
        pytest.raises(IllegalMove, match="is probation and cannot become probation"),
    ):
        releases.promote(session, 2, who="ann", why="again", now=ws.clock())
    assert serving(ws).generation == 2


def test_a_killed_training_whose_labels_have_changed_starts_anew(ws: Workspace, right: dict[str, str]) -> None:
    run_round(ws, "drift")
    label_waiting(ws, right)
    with homes.stopping_at("tune.epoch"):
        run_round(ws, "resume")
    corrected = homes.open_round(ws)
    with ws.database.write() as session:
        first = rounds.round_samples(session, corrected.id, "selected")[0].sample_id
        labels.add_label(session, first, str((int(right[first]) + 1) % 10), "human:ann", now=ws.clock())
    assert run_round(ws, "resume").decision is not None


def test_a_killed_training_goes_on_after_the_epochs_that_it_had_done(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round(ws, "drift")
    label_waiting(ws, right)
    with homes.stopping_at("tune.epoch"):
        run_round(ws, "resume")
    reached: list[str] = []
    monkeypatch.setattr(tuning, "failpoint", reached.append)
    run_round(ws, "resume")
    assert reached.count("tune.epoch") == ws.settings.elastic.epochs - 1


def stop_before_decision(ws: Workspace, right: dict[str, str]) -> None:
    """A round up to its comparison."""
    run_round(ws, "schedule")
    label_waiting(ws, right)
    with homes.stopping_at("validate.committed"):
        run_round(ws, "resume")
    assert homes.open_round(ws).step == "validated"
