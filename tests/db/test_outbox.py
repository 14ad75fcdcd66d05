"""The outbox delivers at least once, waits longer after each failure, and gives up in the end."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import NotFound
from db.records import OutboxMessage
from db.repository import changes, outbox
from tests.db.builders import NOW, later


def put(session: Session, *keys: str) -> None:
    for key in keys:
        assert outbox.put(session, kind="notify", key=key, payload={"text": key}, now=NOW)


def claim(session: Session, seconds: float, **given: int) -> list[OutboxMessage]:
    return outbox.claim(session, "notify", now=later(seconds), lease_s=60, **given)


def test_a_key_is_one_message(database: Database) -> None:
    with database.write() as session:
        put(session, "a")
        assert not outbox.put(session, kind="notify", key="a", payload={}, now=NOW)
        assert [message.payload for message in outbox.waiting(session)] == [{"text": "a"}]


def test_messages_come_oldest_first_and_of_one_kind(database: Database) -> None:
    with database.write() as session:
        put(session, "a", "b", "c")
        outbox.put(session, kind="mlflow_alias", key="d", payload={}, now=NOW)
        assert [message.key for message in claim(session, 0, limit=2)] == ["a", "b"]
        assert [message.key for message in claim(session, 0)] == ["c"]
        assert outbox.num_pending(session, "notify") == 3


def test_a_delivered_message_never_comes_again(database: Database) -> None:
    with database.write() as session:
        put(session, "a")
        (message,) = claim(session, 0)
        outbox.done(session, message.id, now=later(1))
        outbox.done(session, message.id, now=later(2))
        assert outbox.fail(session, message.id, error="late", now=later(3)).done_at == later(1)
        assert claim(session, 9_999) == []
        assert outbox.num_pending(session, "notify") == 0


def test_a_worker_that_died_loses_its_lease(database: Database) -> None:
    with database.write() as session:
        put(session, "a")
        claim(session, 0)
        assert claim(session, 59) == []
        assert [message.attempts for message in claim(session, 60)] == [2]


def test_after_each_failure_the_wait_is_longer(database: Database) -> None:
    with database.write() as session:
        put(session, "a")
        seconds, waits = 0.0, []
        for _ in range(4):
            (message,) = claim(session, seconds)
            failed = outbox.fail(session, message.id, error="refused", now=later(seconds))
            waits.append((failed.next_attempt_at - later(seconds)).total_seconds())
            assert claim(session, seconds + waits[-1] - 0.1) == []
            seconds += waits[-1]
    assert waits == [2, 4, 8, 16]
    assert failed.last_error == "refused"


def test_a_message_that_keeps_failing_is_set_aside_until_revived(database: Database) -> None:
    with database.write() as session:
        put(session, "a")
        for attempt in range(outbox.MAX_ATTEMPTS):
            (message,) = claim(session, attempt * 4_000)
            outbox.fail(session, message.id, error="refused", now=later(attempt * 4_000))
        assert claim(session, 999_999) == []
        (dead,) = outbox.dead_letters(session)
        assert (dead.attempts, dead.last_error) == (outbox.MAX_ATTEMPTS, "refused")
        outbox.revive(session, dead.id, now=later(999_999))
        assert [message.attempts for message in claim(session, 999_999)] == [1]
        assert outbox.dead_letters(session) == []


def test_a_message_that_kills_every_worker_is_set_aside(database: Database) -> None:
    with database.write() as session:
        put(session, "a", "b")
        for attempt in range(outbox.MAX_ATTEMPTS):
            assert len(claim(session, attempt * 60)) == 2
        assert claim(session, 9_999) == []
        assert [message.key for message in outbox.dead_letters(session)] == ["a", "b"]


def test_an_unknown_message_is_told_as_such(database: Database) -> None:
    with database.write() as session, pytest.raises(NotFound, match="no outbox message 5"):
        outbox.done(session, 5, now=NOW)


def test_who_watches_deliveries_sees_each_turn_of_them(database: Database) -> None:
    with database.write() as session:
        seen = [changes.tokens(session)["deliveries"]]
        put(session, "a")
        seen.append(changes.tokens(session)["deliveries"])
        (message,) = claim(session, 0)
        outbox.fail(session, message.id, error="refused", now=later(1), max_attempts=2)
        seen.append(changes.tokens(session)["deliveries"])
        (message,) = claim(session, 3600)
        outbox.fail(session, message.id, error="refused", now=later(3601), max_attempts=2)
        seen.append(changes.tokens(session)["deliveries"])
        outbox.revive(session, message.id, now=later(3602))
        outbox.done(session, message.id, now=later(3603))
        seen.append(changes.tokens(session)["deliveries"])
    assert len(set(seen)) == len(seen)
