"""A trial starts once, beside what is in service, and ends with whatever moves either of its versions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import NewMirror, NewPair, Trial
from db.repository import audit, feedback, mirrors, outbox, predictions, probation, releases, rounds, trials
from tests.db.builders import NOW, accepted, add_samples, candidate, later, log_prediction, on_probation


def prepare(session: Session) -> None:
    """v1 is in service, v2 and v3 are candidates made from it."""
    add_samples(session, "s")
    accepted(session)
    for key in ("second", "third"):
        candidate(session, key, 1)


def start(session: Session, version: int = 2, **changes: object) -> Trial:
    given: dict[str, object] = {"mode": "canary", "share": 0.1, "who": "ann", "why": "to see", "now": NOW}
    return trials.start(session, version, **{**given, **changes})  # type: ignore[arg-type]


def mirror(prediction_id: str, version: int, answer: str = "0") -> NewMirror:
    return NewMirror(prediction_id=prediction_id, version=version, answer=answer, confidence=0.7, latency_s=0.02)


def test_a_trial_is_started_with_its_audit_line_and_its_message(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        trial = start(session)
        assert (trial.version, trial.base_version, trial.mode, trial.share) == (2, 1, "canary", 0.1)
        assert trial.is_running
        assert trials.running(session) == trials.last(session) == trials.get(session, trial.id) == trial
        line = audit.history(session, subject="trial")[-1]
        assert (line.who, line.why, line.version, line.numbers["share"]) == ("ann", "to see", 2, 0.1)
        assert [message.key for message in outbox.waiting(session, "notify")][-1] == "notify:trial:1:started"
        assert releases.serving(session).generation == 1


def test_one_trial_runs_at_a_time(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        start(session)
        with pytest.raises(IllegalMove, match="while version 2 is on trial"):
            start(session, 3)
        ended = trials.end(session, who="ann", outcome="stopped", why="enough", now=later(1))
        assert (ended.is_running, ended.outcome, ended.ended_by, ended.ended_at) == (False, "stopped", "ann", later(1))
        assert trials.running(session) is None
        with pytest.raises(IllegalMove, match="does not run any more"):
            trials.end(session, who="ann", outcome="stopped", now=later(2))
        assert start(session, 3, mode="shadow", share=1.0).id == 2
        with pytest.raises(IllegalMove, match="does not run any more"):
            trials.end(session, who="ann", outcome="stopped", now=later(2), expect=1)
        assert [trial.version for trial in trials.history(session)] == [3, 2]
        assert [trial.id for trial in trials.history(session, version=2)] == [1]
        with pytest.raises(NotFound, match="no trial 9"):
            trials.get(session, 9)


def test_what_cannot_be_tried_is_refused_with_the_mend(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "s")
        first = candidate(session, "first")
        with pytest.raises(IllegalMove, match="no version is in service"):
            start(session, first.version)
        releases.promote(session, 1, who="ann", why="", now=NOW, probation=False)
        with pytest.raises(IllegalMove, match="is accepted and cannot be tried"):
            start(session, 1)
        with pytest.raises(NotFound, match="no version 7"):
            start(session, 7)
        candidate(session, "second", 1)
        for share in (0.0, -1.0, 1.5, float("nan")):
            with pytest.raises(ValueError, match="must lie in"):
                start(session, share=share)
        with pytest.raises(ValueError, match="one of canary, shadow, got 'both'"):
            start(session, mode="both")
        on_probation(session, "third", 1)
        with pytest.raises(IllegalMove, match="while version 3 is on probation"):
            start(session)
        assert trials.history(session) == []


def test_a_version_whose_round_is_in_quarantine_is_not_tried(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        rounds.quarantine(session, 2, who="ann", reason="bad labels", now=NOW)
        with pytest.raises(IllegalMove, match="quarantine"):
            start(session)


def told(session: Session, step: Callable[..., object], version: int) -> Trial:
    step(session, version, who="bob", why="because", now=later(5))
    found = trials.last(session)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("step", "version", "outcome"),
    [
        (releases.promote, 2, "v2 became probation"),
        (releases.reject, 2, "v2 became rejected"),
        (releases.promote, 3, "v3 came into service"),
    ],
)
def test_a_move_that_concerns_a_trial_ends_it_in_the_same_transaction(
    database: Database, step: Callable[..., object], version: int, outcome: str
) -> None:
    with database.write() as session:
        prepare(session)
        start(session)
        ended = told(session, step, version)
    assert (ended.is_running, ended.outcome, ended.ended_by, ended.ended_at) == (False, outcome, "bob", later(5))


def test_a_rollback_of_what_a_version_is_tried_against_ends_the_trial(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        releases.promote(session, 2, who="ann", why="", now=NOW)
        releases.accept(session, 2, who="ann", why="", now=NOW)
        fourth = candidate(session, "fourth", 2)
        start(session, fourth.version)
        ended = told(session, releases.rollback, 2)
    assert (ended.is_running, ended.outcome) == (False, "v2 became rolled back")


def test_waiting_for_approval_and_moves_of_others_leave_a_trial_alone(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        start(session)
        assert told(session, releases.await_approval, 2).is_running
        assert told(session, releases.reject, 3).is_running


def test_a_second_answer_is_kept_once_and_only_beside_its_prediction(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "p", 1)
        lost = mirror("nowhere", 2)
        assert mirrors.log(session, [mirror("p", 2), lost], now=NOW) == [lost]
        assert mirrors.log(session, [mirror("p", 2, "1")], now=NOW) == []
        assert mirrors.log(session, [], now=NOW) == []
        assert mirrors.agreement(session, 2, 1).num_both == 1
        predictions.forget_before(session, later(1))
        assert mirrors.agreement(session, 2, 1).num_both == 0


def test_pairs_come_of_what_both_versions_said_whoever_was_told(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        for id_, version, answer, other, mirrored, right, at in (
            ("shadow", 1, "0", 2, "1", "1", 2),
            ("canary", 2, "0", 1, "1", "0", 1),
            ("both wrong", 2, "0", 1, "1", "2", 3),
            ("elsewhere", 3, "0", 1, "1", "0", 4),
        ):
            log_prediction(session, id_, version, answer=answer)
            mirrors.log(session, [mirror(id_, other, mirrored)], now=NOW)
            feedback.add(session, id_, right, origin="human:ann", now=later(at))
        log_prediction(session, "no feedback", 1)
        log_prediction(session, "no mirror", 1)
        mirrors.log(session, [mirror("no feedback", 2)], now=NOW)
        feedback.add(session, "no mirror", "0", origin="human:ann", now=NOW)
        found = mirrors.pairs(session, 2, 1)
        assert [(pair.key, pair.new_correct, pair.old_correct) for pair in found] == [
            ("canary", True, False),
            ("shadow", True, False),
            ("both wrong", False, False),
        ]
        assert probation.add_pairs(session, 2, found, now=NOW) == 3
        assert mirrors.pairs(session, 2, 1) == []
        assert [pair.key for pair in mirrors.pairs(session, 3, 1)] == ["elsewhere"]


def test_agreement_needs_no_feedback(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        assert mirrors.agreement(session, 2, 1).share is None
        log_prediction(session, "a", 1, answer="0", latency_s=0.01)
        log_prediction(session, "b", 2, answer="0", latency_s=0.04)
        mirrors.log(session, [mirror("a", 2, "0"), mirror("b", 1, "1")], now=later(1))
        found = mirrors.agreement(session, 2, 1)
        assert (found.num_both, found.num_same, found.share) == (2, 1, 0.5)
        assert found.new_latency_s == pytest.approx(0.03)
        assert found.old_latency_s == pytest.approx(0.015)
        assert mirrors.agreement(session, 2, 1, since=later(2)).num_both == 0


def test_pairs_against_another_version_do_not_count_in_probation(database: Database) -> None:
    """A version without a parent may be tried against one version and promoted over another."""
    with database.write() as session:
        prepare(session)
        stray = candidate(session, "stray")
        start(session, stray.version)
        probation.add_pairs(session, stray.version, [NewPair(key="x", new_correct=True, old_correct=False)], now=NOW)
        trials.end(session, who="ann", outcome="stopped", now=NOW)
        releases.promote(session, 2, who="ann", why="", now=NOW)
        releases.accept(session, 2, who="ann", why="", now=NOW)
        releases.promote(session, stray.version, who="ann", why="", now=NOW)
        assert probation.pairs(session, stray.version) == []


def test_pairs_against_the_version_before_count_in_probation(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        start(session)
        probation.add_pairs(session, 2, [NewPair(key="x", new_correct=True, old_correct=False)], now=NOW)
        releases.promote(session, 2, who="ann", why="", now=NOW)
        assert [pair.key for pair in probation.pairs(session, 2)] == ["x"]
