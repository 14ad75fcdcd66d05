"""Predictions, feedback, probation pairs, measurements, baselines, alerts."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import NotFound
from db.records import NewMeasurement, NewPair
from db.repository import alerts, feedback, measurements, predictions, probation, tasks
from tests.db.builders import NOW, TASK, accepted, later, log_prediction, on_probation


def prepare(session: Session) -> None:
    tasks.put_task(session, TASK)
    accepted(session)


def test_a_retry_logs_nothing_twice(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "p", 1, answer="1", modalities=("image", "text"), confidence=float("nan"))
        log_prediction(session, "p", 1, answer="2")
        found = predictions.get(session, "p")
        assert predictions.get(session, "q") is None
    assert found is not None
    assert (found.answer, found.modalities, found.confidence) == ("1", ("image", "text"), None)


def test_predictions_are_read_by_time_and_version(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        for id_ in ("b", "a"):
            log_prediction(session, id_, 1)
        assert [row.id for row in predictions.between(session, NOW, later(1))] == ["a", "b"]
        assert predictions.between(session, NOW, NOW) == []
        assert predictions.between(session, NOW, later(1), version=2) == []


def test_old_predictions_without_feedback_can_be_forgotten(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "kept", 1)
        log_prediction(session, "gone", 1)
        feedback.add(session, "kept", "0", origin="human:ann", now=NOW)
        assert predictions.forget_before(session, NOW) == 0
        assert predictions.forget_before(session, later(1)) == 1
        assert predictions.get(session, "kept") is not None


def test_the_first_feedback_on_a_prediction_counts(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "p", 1, answer="1")
        assert feedback.add(session, "p", "1", origin="human:ann", now=NOW)
        assert not feedback.add(session, "p", "2", origin="human:bob", now=later(1))
        (scored,) = feedback.scored(session, version=1)
    assert (scored.feedback.answer, scored.feedback.origin, scored.is_correct) == ("1", "human:ann", True)


def test_feedback_needs_a_prediction_and_an_answer_of_its_task(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "p", 1)
        with pytest.raises(NotFound, match="no prediction 'q'"):
            feedback.add(session, "q", "1", origin="human:ann", now=NOW)
        with pytest.raises(ValueError, match="'9' is no answer of task digit"):
            feedback.add(session, "p", "9", origin="human:ann", now=NOW)
        assert feedback.get(session, "p") is None


def test_feedback_is_read_in_the_order_in_which_it_came(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        for number, id_ in enumerate(("c", "a", "b")):
            log_prediction(session, id_, 1)
            feedback.add(session, id_, "0", origin="human:ann", now=later(number))
        assert [row.prediction.id for row in feedback.scored(session)] == ["c", "a", "b"]
        assert [row.prediction.id for row in feedback.scored(session, since=NOW)] == ["a", "b"]
        assert [row.prediction.id for row in feedback.scored(session, limit=1)] == ["c"]


def test_a_sample_is_one_pair_of_a_probation(database: Database) -> None:
    pair = NewPair(key="s", new_correct=True, old_correct=False)
    with database.write() as session:
        prepare(session)
        on_probation(session, "second", 1)
        assert (
            probation.add_pairs(session, 2, [pair, NewPair(key="t", new_correct=False, old_correct=False)], now=NOW)
            == 2
        )
        assert probation.add_pairs(session, 2, [pair], now=later(1)) == 0
        assert probation.add_pairs(session, 1, [pair], now=later(1)) == 1
        first, second = probation.pairs(session, 2)
        assert probation.pairs(session, 2, after=first.id) == [second]
        assert probation.count_pairs(session, 2) == (2, 1, 0)
        assert probation.count_pairs(session, 3) == (0, 0, 0)
    assert (first.key, first.new_correct, first.old_correct, first.at) == ("s", True, False, NOW)


def test_what_waits_to_be_paired_is_feedback_on_stored_samples(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        on_probation(session, "second", 1)
        for id_, version, sample_id in (("old", 1, "s"), ("new", 2, "s"), ("other", 2, "t"), ("passing", 2, None)):
            log_prediction(session, id_, version, sample_id=sample_id)
            feedback.add(session, id_, "0", origin="human:ann", now=NOW)
        log_prediction(session, "no feedback", 2, sample_id="u")
        assert [row.prediction.id for row in probation.unscored(session, 2)] == ["new", "other"]
        probation.add_pairs(session, 2, [NewPair(key="new", new_correct=True, old_correct=True)], now=NOW)
        assert [row.prediction.id for row in probation.unscored(session, 2)] == ["other"]


def test_a_number_that_could_not_be_measured_is_none(database: Database) -> None:
    rows = [NewMeasurement(metric="accuracy", value=value) for value in (0.5, float("nan"), float("inf"), None)]
    with database.write() as session:
        assert measurements.add(session, rows, now=NOW) == 4
        assert [row.value for row in measurements.series(session, "accuracy")] == [0.5, None, None, None]


def test_a_series_is_the_latest_of_its_slice_and_version(database: Database) -> None:
    with database.write() as session:
        for second in range(5):
            rows = [
                NewMeasurement(metric="accuracy", value=second / 10, version=1, num_samples=7, detail={"n": second}),
                NewMeasurement(metric="accuracy", value=0.9, slice="domain=fr"),
            ]
            measurements.add(session, rows, now=later(second))
        found = measurements.series(session, "accuracy", slice_="all", version=1, since=later(1), limit=2)
        latest = measurements.latest(session, "accuracy")
        assert measurements.latest(session, "ece") is None
    assert [row.value for row in found] == [0.3, 0.4]
    assert latest is not None
    assert (latest.value, latest.num_samples, latest.detail) == (0.4, 7, {"n": 4})


def test_the_newest_baseline_is_in_force(database: Database) -> None:
    with database.write() as session:
        assert measurements.get_baseline(session, "text") is None
        measurements.set_baseline(session, "text", {"mean": [0.1, float("nan")]}, now=NOW, version=1)
        measurements.set_baseline(session, "text", {"mean": [0.2]}, now=NOW)
        found = measurements.get_baseline(session, "text")
    assert found is not None
    assert found.values == {"mean": [0.2]}


def test_an_alert_is_open_once_and_opens_anew_after_its_end(database: Database) -> None:
    def fire(session: Session, seconds: float, severity: str) -> int:
        return alerts.raise_alert(
            session, "drift:fr", name="drift", severity=severity, summary="fr moved", now=later(seconds)
        ).id

    with database.write() as session:
        first = fire(session, 0, "warning")
        assert fire(session, 5, "critical") == first
        (alert,) = alerts.list_alerts(session, is_open=True)
        assert (alert.severity, alert.started_at, alert.updated_at) == ("critical", NOW, later(5))
        assert alerts.resolve(session, "drift:fr", now=later(9))
        assert not alerts.resolve(session, "drift:fr", now=later(10))
        assert fire(session, 20, "warning") != first
        assert [row.state for row in alerts.list_alerts(session)] == ["firing", "resolved"]
        assert len(alerts.list_alerts(session, is_open=False)) == 1
