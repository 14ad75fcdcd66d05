"""Answers that light models gave at edges are told apart from a version's own."""

from __future__ import annotations

from db.engine import Database
from db.repository import feedback, predictions
from tests.db.builders import NOW, later, log_prediction
from tests.db.test_live import prepare

EDGE = {"edge": {"id": "edge-1", "bundle": "d"}}


def test_a_version_is_judged_by_its_own_answers_alone(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        log_prediction(session, "own", 1, answer="1", detail={"entropy": 0.1})
        log_prediction(session, "light", 1, answer="1", detail=EDGE)
        for id_ in ("own", "light"):
            feedback.add(session, id_, "1", origin="human:ann", now=NOW)
        both = predictions.between(session, NOW, later(1))
        own = predictions.between(session, NOW, later(1), own_only=True)
        assert ([row.id for row in both], [row.id for row in own]) == (["light", "own"], ["own"])
        assert len(feedback.scored(session, version=1)) == 2
        assert [row.prediction.id for row in feedback.scored(session, version=1, own_only=True)] == ["own"]
