"""Requests for a round are counted, not queued up."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.repository import audit, changes, triggers
from tests.db.builders import NOW, later, open_round


def test_requests_of_a_kind_that_wait_together_are_one(database: Database) -> None:
    with database.write() as session:
        triggers.request(session, "drift", now=NOW, detail={"domain": "fr"})
        triggers.request(session, "schedule", now=NOW)
        again = triggers.request(session, "drift", now=later(5), detail={"domain": "it"})
        assert [trigger.kind for trigger in triggers.pending(session)] == ["drift", "schedule"]
    assert (again.num_requests, again.detail) == (2, {"domain": "it"})
    assert (again.requested_at, again.last_requested_at) == (NOW, later(5))


def test_a_round_takes_every_request_that_waits(database: Database) -> None:
    with database.write() as session:
        triggers.request(session, "drift", now=NOW)
        triggers.request(session, "manual", now=NOW)
        round_ = open_round(session)
        taken = triggers.take_trigger(session, now=later(5), round_id=round_.id)
        assert [trigger.kind for trigger in taken] == ["drift", "manual"]
        assert {(trigger.taken_at, trigger.round_id) for trigger in taken} == {(later(5), round_.id)}
        assert triggers.take_trigger(session, now=later(6)) == ()


def test_a_request_during_a_round_waits_for_the_next(database: Database) -> None:
    with database.write() as session:
        triggers.request(session, "drift", now=NOW)
        triggers.take_trigger(session, now=NOW)
        assert triggers.request(session, "drift", now=later(5)).num_requests == 1
        assert len(triggers.pending(session)) == 1
        assert [trigger.taken_at for trigger in triggers.list_triggers(session)] == [None, NOW]


def test_a_withdrawn_request_is_answered_by_no_round(database: Database) -> None:
    with database.write() as session:
        drift = triggers.request(session, "drift", now=NOW)
        triggers.request(session, "manual", now=NOW)
        before = changes.tokens(session)["rounds"]
        gone = triggers.withdraw(session, drift.id, who="ann", why="the camera was covered", now=later(1))
        assert (gone.taken_at, gone.round_id) == (later(1), None)
        assert changes.tokens(session)["rounds"] != before
        round_ = open_round(session)
        taken = triggers.take_trigger(session, now=later(2), round_id=round_.id)
        assert [trigger.kind for trigger in taken] == ["manual"]
        (line,) = audit.history(session, subject="request", subject_id=drift.id)
        assert (line.who, line.action, line.numbers) == ("ann", "withdraw", {"kind": "drift", "num_requests": 1})


def test_the_kind_may_be_asked_for_again_after_a_withdrawal(database: Database) -> None:
    with database.write() as session:
        drift = triggers.request(session, "drift", now=NOW)
        triggers.withdraw(session, drift.id, who="ann", why="no", now=NOW)
        again = triggers.request(session, "drift", now=later(1))
        assert (again.num_requests, again.id != drift.id) == (1, True)


def test_only_a_request_that_waits_is_withdrawn(database: Database) -> None:
    with database.write() as session:
        drift = triggers.request(session, "drift", now=NOW)
        round_ = open_round(session)
        triggers.take_trigger(session, now=NOW, round_id=round_.id)
    with pytest.raises(IllegalMove, match=f"round {round_.id} answers it"), database.write() as session:
        triggers.withdraw(session, drift.id, who="ann", why="no", now=later(1))
    with pytest.raises(NotFound, match="no request 99"), database.write() as session:
        triggers.withdraw(session, 99, who="ann", why="no", now=later(1))
