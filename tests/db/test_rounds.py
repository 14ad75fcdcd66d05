"""Rounds: once per key, one at a time, forwards only."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import RoundSample
from db.repository import audit, rounds, samples
from db.rounds import STEPS
from tests.db.builders import NOW, add_samples, label, later, open_round


def test_a_key_is_one_round_for_good(database: Database) -> None:
    with database.write() as session:
        first = open_round(session, "key")
        rounds.close(session, first.id, "rejected", now=NOW)
        again, created = rounds.open_round(
            session, key="key", trigger="drift", base_version=None, config={}, snapshot="", now=later(5)
        )
    assert not created
    assert (again.id, again.trigger, again.outcome) == (first.id, "manual", "rejected")


def test_while_a_round_is_open_no_other_is_opened(database: Database) -> None:
    with database.write() as session:
        first = open_round(session, "one")
        other, created = rounds.open_round(
            session, key="two", trigger="drift", base_version=None, config={}, snapshot="", now=NOW
        )
        assert (other.key, created) == ("one", False)
        rounds.close(session, first.id, "accepted", now=NOW)
        assert rounds.resume_target(session) is None
        assert open_round(session, "two").id != first.id


def test_steps_go_forward_and_keep_what_they_reported(database: Database) -> None:
    with database.write() as session:
        round_ = open_round(session)
        for number, step in enumerate(STEPS[1:-1]):
            moved = rounds.advance(session, round_.id, step, {"number": number}, now=later(number))
            assert moved.step == step
        done = rounds.close(session, round_.id, "accepted", now=later(99))
        assert [step.step for step in rounds.steps_of(session, round_.id)] == list(STEPS)
    assert done.outputs["tuned"] == {"number": 2}
    assert (done.step, done.outcome, done.closed_at, done.is_open) == ("closed", "accepted", later(99), False)


def test_steps_may_be_skipped_but_not_undone(database: Database) -> None:
    with database.write() as session:
        round_ = open_round(session)
        rounds.advance(session, round_.id, "tuned", {"loss": 1.0}, now=NOW)
        with pytest.raises(IllegalMove, match="is tuned and cannot become filtered"):
            rounds.advance(session, round_.id, "filtered", {}, now=NOW)


def test_repeating_a_step_changes_nothing(database: Database) -> None:
    with database.write() as session:
        round_ = open_round(session)
        first = rounds.advance(session, round_.id, "tuned", {"loss": 1.0}, now=NOW)
        assert rounds.advance(session, round_.id, "tuned", {"loss": 2.0}, now=later(9)) == first


def test_only_closing_closes(database: Database) -> None:
    with database.write() as session:
        round_ = open_round(session)
        with pytest.raises(ValueError, match="Use close"):
            rounds.advance(session, round_.id, "closed", {}, now=NOW)
        closed = rounds.close(session, round_.id, "failed", now=NOW)
        assert rounds.close(session, round_.id, "failed", now=later(5)) == closed
        with pytest.raises(IllegalMove, match="closed as failed"):
            rounds.close(session, round_.id, "accepted", now=NOW)
        with pytest.raises(IllegalMove, match="only go forward"):
            rounds.advance(session, round_.id, "tuned", {}, now=NOW)


def test_the_database_itself_refuses_a_second_open_round(database: Database) -> None:
    with database.write() as session:
        first, second = open_round(session, "one"), None
        rounds.close(session, first.id, "accepted", now=NOW)
        second = open_round(session, "two")
    statement = f"UPDATE rounds SET is_open = true WHERE id = {first.id}"
    with pytest.raises(IntegrityError), database.write() as session:
        session.connection().exec_driver_sql(statement)
    assert second is not None


def test_samples_of_a_round_keep_role_score_and_rank(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c")
        round_ = open_round(session)
        members = [
            RoundSample(sample_id="a", role="selected", score=0.2, rank=1, detail={"entropy": 0.2}),
            RoundSample(sample_id="b", role="selected", score=0.9, rank=0),
            RoundSample(sample_id="c", role="control", score=float("nan")),
        ]
        assert rounds.add_round_samples(session, round_.id, members) == 3
        assert rounds.add_round_samples(session, round_.id, members) == 0
        found = rounds.round_samples(session, round_.id)
        assert [row.sample_id for row in rounds.round_samples(session, round_.id, "selected")] == ["b", "a"]
        assert rounds.count_round_samples(session, round_.id) == {"selected": 2, "control": 1}
        assert samples.rounds_of(session, "a") == [round_.id]
    assert [row.sample_id for row in found] == ["b", "a", "c"]
    assert (found[1].detail, found[2].score) == ({"entropy": 0.2}, None)


def test_a_role_that_does_not_exist_is_refused(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        open_round(session)
    wrong = RoundSample(sample_id="a", role="spectator")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"none of those allowed.*ck_round_samples_role"), database.write() as session:
        rounds.add_round_samples(session, 1, [wrong])


def test_evidence_is_found_again(database: Database) -> None:
    with database.write() as session:
        round_ = open_round(session)
        assert rounds.set_evidence(session, round_.id, "digest", now=NOW).evidence == "digest"


def test_a_quarantine_is_set_once_and_lifted_by_name(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        round_ = open_round(session)
        label(session, "a", round_id=round_.id)
        first = rounds.quarantine(session, round_.id, who="ann", reason="wrong camera", now=NOW)
        assert rounds.quarantine(session, round_.id, who="bob", reason="again", now=later(5)) == first
        assert samples.labelled(session, "train") == []
        lifted = rounds.lift_quarantine(session, round_.id, who="ann", why="was fine", now=later(9))
        assert (lifted.quarantined_at, lifted.quarantine_reason) == (None, None)
        assert len(samples.labelled(session, "train")) == 1
        trail = audit.history(session, subject="round", subject_id=round_.id)
    assert [(entry.action, entry.who, entry.why) for entry in trail] == [
        ("quarantine", "ann", "wrong camera"),
        ("lift_quarantine", "ann", "was fine"),
    ]
    assert trail[1].numbers == {"num_labels": 1}


def test_rounds_are_listed_latest_first(database: Database) -> None:
    with database.write() as session:
        for key in ("one", "two"):
            rounds.close(session, open_round(session, key).id, "accepted", now=NOW)
        assert [round_.key for round_ in rounds.list_rounds(session)] == ["two", "one"]
        assert rounds.find_round(session, "three") is None
        with pytest.raises(NotFound, match="no round 9"):
            rounds.get_round(session, 9)
