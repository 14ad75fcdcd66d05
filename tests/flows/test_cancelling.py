"""A cancelled round: who works on it stops at the next transaction, nothing is promoted, and the next may start."""

from collections.abc import Callable

import pytest

from db.errors import IllegalMove
from db.repository import audit, label_queue, labels, measurements, rounds, triggers, versions
from flows.steps import rounds as steps
from flows.steps.cancelling import cancel_round
from flows.steps.curves import Curves
from flows.steps.labelling import add_labels
from flows.steps.rounds import open_round, run_round
from flows.workspace import Workspace
from omni_model.epochs import EpochStats
from omni_model.sample import Sample
from tests.flows.homes import label_waiting, serving, states


def cancelled_in(ws: Workspace, step: Callable[..., None]) -> Callable[..., None]:
    """The step, in the middle of which somebody cancels the round."""

    def run(workspace: Workspace, round_: object) -> None:
        open_ = open_id(ws)
        cancel_round(ws, open_, who="ann", why="wrong data")
        step(workspace, round_)

    return run


def open_id(ws: Workspace) -> int:
    with ws.database.read() as session:
        found = rounds.resume_target(session)
    assert found is not None
    return found.id


def test_a_waiting_round_is_cancelled_and_asks_for_no_labels_any_more(ws: Workspace, right: dict[str, str]) -> None:
    round_ = run_round(ws, "manual", who="bob").round
    with ws.database.read() as session:
        waiting = label_queue.list_entries(session, round_id=round_.id)
        assert triggers.asked_by(session, round_.id) == ["bob"]
    answered = waiting[0].sample_id
    add_labels(ws, [(answered, right[answered])], origin="human:bob")
    closed = cancel_round(ws, round_.id, who="ann", why="wrong data")
    assert (closed.outcome, closed.is_open) == ("cancelled", False)
    with ws.database.read() as session:
        assert label_queue.list_entries(session, round_id=round_.id) == []
        assert labels.active_label(session, answered) is not None, "what was labelled stays"
        line = audit.history(session, subject="round", subject_id=round_.id)[-1]
    assert (line.who, line.action, line.why) == ("ann", "cancel", "wrong data")
    with pytest.raises(IllegalMove, match="ended already, as cancelled"):
        cancel_round(ws, round_.id, who="ann", why="again")


def test_after_a_cancelled_round_the_same_request_opens_the_next(ws: Workspace) -> None:
    first = open_round(ws, "drift")
    cancel_round(ws, first.id, who="ann", why="wrong data")
    assert open_round(ws, "drift").id != first.id


@pytest.mark.parametrize("step", ["do_filter", "do_register", "do_validate", "do_decide"])
def test_a_run_ends_quietly_in_any_step_and_nothing_is_promoted(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = serving(ws)
    real = getattr(steps, step)
    due = next(name for name, each in steps.NEXT.items() if each is real)
    run_round(ws, "drift")
    round_id = open_id(ws)
    if step != "do_filter":
        label_waiting(ws, right)
    else:
        cancel_round(ws, round_id, who="ann", why="to begin anew")
    monkeypatch.setitem(steps.NEXT, due, cancelled_in(ws, real))
    report = run_round(ws, "drift")
    assert (report.round.outcome, report.round.step) == ("cancelled", "closed")
    assert serving(ws) == before
    assert "candidate" not in states(ws).values()
    with ws.database.read() as session:
        assert versions.on_probation(session) is None
        assert rounds.resume_target(session) is None
        assert rounds.get_round(session, report.round.id).quarantined_at is None
    monkeypatch.undo()
    assert run_round(ws, "drift").round.id > report.round.id


def stats(epoch: int, epochs: int = 8) -> EpochStats:
    return EpochStats(
        epoch=epoch,
        epochs=epochs,
        train_loss=3 / epoch,
        val_loss=float("nan"),
        val_accuracy=0.5,
        learning_rate=0.1,
        seconds=1,
    )


def test_the_curves_are_written_a_few_times_a_second_and_to_the_end(ws: Workspace) -> None:
    round_, now, num_writes = open_round(ws, "drift"), [100.0], []
    curves = Curves(ws, round_, "training-a", monotonic=lambda: now[0])
    for epoch in range(1, 9):
        curves.tell(stats(epoch))
        now[0] += 0.125
        with ws.database.read() as session:
            num_writes.append(len(measurements.series(session, "training_loss", slice_=f"round={round_.id}")))
    assert num_writes == [1, 1, 1, 4, 4, 4, 7, 8]
    with ws.database.read() as session:
        found = measurements.series(session, "validation_loss", slice_=f"round={round_.id}")
    assert [row.detail["epoch"] for row in found] == list(range(1, 9))
    assert {row.value for row in found} == {None}, "without validation rows there is no loss"


def test_a_training_stops_within_its_epochs_when_its_round_was_cancelled(
    ws: Workspace, right: dict[str, str], arriving: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round(ws, "drift")
    label_waiting(ws, right)
    told: list[int] = []
    real = Curves.tell

    def tell(self: Curves, found: EpochStats) -> None:
        told.append(found.epoch)
        if found.epoch == 1:
            cancel_round(ws, self.round.id, who="ann", why="enough")
        real(self, found)

    monkeypatch.setattr(Curves, "tell", tell)
    report = run_round(ws, "resume")
    assert report.round.outcome == "cancelled"
    assert told == [1]
