"""What the watch asks the log for: the newest rows, oldest first, and old numbers forgotten."""

from __future__ import annotations

from db.engine import Database
from db.records import NewMeasurement
from db.repository import feedback, measurements, predictions, tasks
from tests.db.builders import NOW, TASK, accepted, later, log_prediction


def test_the_newest_answers_come_oldest_first_and_no_more_than_asked_for(database: Database) -> None:
    with database.write() as session:
        tasks.put_task(session, TASK)
        accepted(session)
        for id_ in ("c", "a", "b"):
            log_prediction(session, id_, 1)
        assert [row.id for row in predictions.newest(session, NOW, later(1), version=1, limit=2)] == ["b", "c"]
        assert predictions.newest(session, later(1), later(2), version=1, limit=2) == []
        assert predictions.newest(session, NOW, later(1), version=2, limit=2) == []
        for at, id_ in enumerate(("b", "c", "a")):
            feedback.add(session, id_, "0", origin="human:ann", now=later(at))
        found = feedback.newest(session, version=1, since=NOW, limit=5)
        assert [entry.prediction.id for entry in found] == ["c", "a"]
        assert [entry.prediction.id for entry in feedback.newest(session, version=1, since=NOW, limit=1)] == ["a"]


def test_answers_of_a_light_model_are_none_of_the_version_s_own(database: Database) -> None:
    with database.write() as session:
        tasks.put_task(session, TASK)
        accepted(session)
        log_prediction(session, "own", 1)
        log_prediction(session, "light", 1, detail={"edge": {"id": "kiosk"}})
        for id_ in ("own", "light"):
            feedback.add(session, id_, "0", origin="human:ann", now=later(1))
        assert [row.id for row in predictions.newest(session, NOW, later(1), version=1, limit=9)] == ["own"]
        assert [row.prediction.id for row in feedback.newest(session, version=1, since=NOW, limit=9)] == ["own"]


def test_old_measurements_of_the_named_metrics_are_forgotten(database: Database) -> None:
    with database.write() as session:
        rows = [NewMeasurement(metric=name, value=1.0) for name in ("latency_p95", "validation_accuracy")]
        measurements.add(session, rows, now=NOW)
        assert measurements.forget(session, NOW, metrics=["latency_p95"], limit=9) == 0
        assert measurements.forget(session, later(1), metrics=["latency_p95"], limit=9) == 1
        assert measurements.latest(session, "validation_accuracy") is not None
