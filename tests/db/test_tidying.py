"""What was told and is over goes in pieces; what waits, was given up on, or is still needed stays."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from db.blobs import digest_of
from db.engine import Database
from db.records import NewReport
from db.repository import notifications, outbox, reports, silences, tidying
from tests.db.builders import NOW, accepted, add_samples, later, open_round

ONE, TWO = digest_of(b"one"), digest_of(b"two")


def tell(session: Session, key: str, *, group: str = "g", is_taken: bool = True) -> None:
    notifications.tell(session, key=key, group_key=group, receiver="ops", reason="firing", payload={}, now=NOW)
    if is_taken:
        (message,) = [entry for entry in outbox.waiting(session) if entry.key == key]
        outbox.done(session, message.id, now=NOW)
        notifications.delivered(session, key, now=NOW)


def keys(session: Session) -> list[str]:
    return [entry.key for entry in notifications.list_notifications(session)][::-1]


def test_delivered_notices_go_oldest_first_and_the_last_of_each_group_stays(database: Database) -> None:
    with database.write() as session:
        for key in ("a", "b", "c", "d"):
            tell(session, key)
        tell(session, "other", group="other")
        assert tidying.forget_notifications(session, NOW, limit=9) == 0
        assert tidying.forget_notifications(session, later(1), limit=2) == 2
        assert keys(session) == ["c", "d", "other"]
        assert tidying.forget_notifications(session, later(1), limit=9) == 1
        assert tidying.forget_notifications(session, later(1), limit=9) == 0
        assert {entry.key for entry in notifications.last_of_groups(session)} == {"d", "other"}


def test_a_message_stays_as_long_as_its_notice_and_so_does_its_key(database: Database) -> None:
    with database.write() as session:
        for key in ("a", "b", "c"):
            tell(session, key)
        assert tidying.forget_messages(session, later(1), limit=9) == 0
        tidying.forget_notifications(session, later(1), limit=9)
        assert tidying.forget_messages(session, later(1), limit=1) == 1
        assert tidying.forget_messages(session, later(1), limit=9) == 1
        assert not outbox.put(session, kind="notify", key="c", payload={}, now=NOW), "what was told last is known"


def test_what_was_not_delivered_is_never_deleted(database: Database) -> None:
    with database.write() as session:
        for key in ("waits", "dead", "newer"):
            tell(session, key, is_taken=False)
        dead = next(entry for entry in outbox.waiting(session) if entry.key == "dead")
        outbox.fail(session, dead.id, error="gone", now=NOW, is_final=True)
        outbox.put(session, kind="rollback", key="rollback:v2:rule", payload={}, now=NOW)
        asked = next(entry for entry in outbox.waiting(session, "rollback"))
        outbox.done(session, asked.id, now=NOW)
        for forget in (tidying.forget_notifications, tidying.forget_messages):
            assert forget(session, NOW + timedelta(days=999), limit=9) == 0
        assert [entry.key for entry in outbox.waiting(session)] == ["waits", "newer"]
        assert [entry.key for entry in outbox.dead_letters(session)] == ["dead"]
        assert not outbox.put(session, kind="rollback", key="rollback:v2:rule", payload={}, now=NOW)


def test_silences_that_are_over_go(database: Database) -> None:
    matcher = [{"name": "name", "op": "=", "value": "x"}]
    with database.write() as session:
        made = [
            silences.add(session, matcher, owner="ann", why="x", starts_at=NOW, ends_at=later(minutes), now=NOW)
            for minutes in (1, 2, 60)
        ]
        ended = silences.end(session, made[2].id, who="ann", now=NOW)
        assert ended.ended_at == NOW
        assert tidying.forget_silences(session, later(1), limit=9) == 1, "the one that was ended before its time"
        assert tidying.forget_silences(session, later(3), limit=1) == 1
        assert [entry.id for entry in silences.list_silences(session)] == [made[1].id]


def test_reports_of_windows_go_with_their_bytes_and_those_of_rounds_stay(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "s")
        accepted(session)
        round_ = open_round(session, "round", 1)
        about = {"kind": "drift", "num_rows": 30, "num_reference": 30, "numbers": {}, "version": 1}
        for key, digest, of in (("w1", ONE, None), ("w2", TWO, None), ("w3", TWO, None), ("r", ONE, round_.id)):
            reports.add(session, NewReport(key=key, digest=digest, round_id=of, **about), now=NOW)  # type: ignore[arg-type]
        assert tidying.forget_reports(session, NOW, limit=9) == (0, ())
        assert tidying.forget_reports(session, later(1), limit=2) == (2, ()), "both digests are named still"
        assert tidying.forget_reports(session, later(1), limit=2) == (1, (TWO,))
        assert [row.key for row in reports.list_reports(session)] == ["r"]
