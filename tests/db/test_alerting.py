"""States of rules, silences, notices with their messages, acknowledgements, and the index of reports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import Alert, NewReport, RuleState
from db.repository import alerts, notifications, outbox, reports, rule_states, silences
from tests.db.builders import NOW, later

MATCHERS = [{"label": "name", "value": "latency", "is_regex": False, "is_equal": True}]


def fire(session: Session, fingerprint: str, seconds: float = 0.0) -> Alert:
    return alerts.raise_alert(
        session, fingerprint, name="slow", severity="warning", summary="p95 is 2 s", now=later(seconds), value=2.0
    )


def tell(session: Session, key: str, seconds: float = 0.0, *, receiver: str = "ops") -> bool:
    return notifications.tell(
        session,
        key=key,
        group_key="latency",
        receiver=receiver,
        reason="firing",
        payload={"title": key},
        firing=["a", "gone"],
        now=later(seconds),
    )


def test_an_alert_says_what_was_measured_and_against_what(database: Database) -> None:
    with database.write() as session:
        alert = alerts.raise_alert(
            session, "a", name="n", severity="info", summary="s", now=NOW, value=0.4, baseline=0.5, version=3, mend="m"
        )
        assert (alert.value, alert.baseline, alert.version, alert.mend) == (0.4, 0.5, 3, "m")
        again = fire(session, "a", 5)
        assert (again.value, again.baseline, again.num_notified) == (2.0, 0.5, 0)
        with pytest.raises(ValueError, match=r"no colour\. It may say value"):
            alerts.raise_alert(session, "a", name="n", severity="info", summary="s", now=NOW, colour="red")


def test_the_first_to_acknowledge_stays_and_what_has_ended_cannot_be_taken(database: Database) -> None:
    with database.write() as session:
        alert = fire(session, "a")
        alerts.acknowledge(session, alert.id, who="ada", now=later(1))
        assert alerts.acknowledge(session, alert.id, who="bob", now=later(2)).acknowledged_by == "ada"
        assert fire(session, "a", 3).acknowledged_at == later(1)
        alerts.resolve(session, "a", now=later(4))
        with pytest.raises(IllegalMove, match="ended on"):
            alerts.acknowledge(session, alert.id, who="bob", now=later(5))
        with pytest.raises(NotFound, match="omniloop alerts list"):
            alerts.acknowledge(session, 99, who="bob", now=later(5))
        newer = fire(session, "a", 6)
        assert alerts.latest(session, ["a", "b"]) == {"a": newer}


def test_a_notice_is_told_once_a_key_and_counted_on_its_alerts(database: Database) -> None:
    with database.write() as session:
        fire(session, "a")
        assert tell(session, "k1", 10)
        assert not tell(session, "k1", 20)
        assert tell(session, "k2", 30, receiver="boss")
        alert = alerts.open_alert(session, "a")
        assert alert is not None
        assert (alert.num_notified, alert.last_notified_at) == (2, later(30))
        waiting = outbox.waiting(session, notifications.KIND)
        assert [(message.key, message.payload["receiver"]) for message in waiting] == [("k1", "ops"), ("k2", "boss")]
        (_, said) = notifications.list_notifications(session)
        assert (said.key, said.firing, said.delivered_at) == ("k1", ["a", "gone"], None)
        notifications.delivered(session, "k1", now=later(40))
        notifications.delivered(session, "k1", now=later(50))
        notifications.delivered(session, "release:1:3", now=later(50))
        assert [row.delivered_at for row in notifications.list_notifications(session)] == [None, later(40)]


def test_a_notice_that_is_not_committed_was_never_told(database: Database) -> None:
    def killed() -> None:
        with database.write() as session:
            tell(session, "k1")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        killed()
    with database.read() as session:
        assert notifications.list_notifications(session) == []
        assert outbox.waiting(session) == []


def test_a_state_replaces_the_one_before(database: Database) -> None:
    state = RuleState(
        fingerprint="f",
        rule="latency",
        labels={"task": "digit"},
        state="pending",
        memory={"breaches": 2},
        since=NOW,
        updated_at=NOW,
    )
    with database.write() as session:
        rule_states.put(session, state)
        rule_states.put(session, replace(state, state="firing", memory={}, since=later(9)))
        rule_states.put(session, replace(state, fingerprint="g", rule="disk"))
        found = rule_states.all_states(session, rule="latency")
        assert list(found) == ["f"]
        assert (found["f"].state, found["f"].memory, found["f"].since) == ("firing", {}, later(9))
        assert rule_states.forget(session, ["f", "never"]) == 1
        assert list(rule_states.all_states(session)) == ["g"]


def test_a_silence_has_an_owner_a_reason_and_an_end(database: Database) -> None:
    with database.write() as session:
        silence = silences.add(
            session, MATCHERS, owner="ada", why="migration", starts_at=later(10), ends_at=later(70), now=NOW
        )
        assert silence.matchers == MATCHERS
        in_force = {seconds: silences.in_force(session, now=later(seconds)) for seconds in (0, 10, 69, 70)}
        assert [bool(found) for found in in_force.values()] == [False, True, True, False]
        assert silence.covers(later(10))
        assert not silence.covers(later(70))
        ended = silences.end(session, silence.id, who="bob", now=later(20))
        assert (ended.ended_by, ended.covers(later(19)), ended.covers(later(21))) == ("bob", True, False)
        assert silences.in_force(session, now=later(21)) == []
        assert silences.end(session, silence.id, who="eve", now=later(99)).ended_by == "bob"
        assert silences.list_silences(session) == [ended]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matchers": []}, "hide every alert"),
        ({"owner": " "}, "owner and a reason"),
        ({"why": ""}, "owner and a reason"),
        ({"ends_at": NOW}, "end after its start"),
        ({"starts_at": later(-60), "ends_at": later(-30)}, "after now"),
    ],
)
def test_a_silence_without_these_is_refused(database: Database, changes: dict[str, object], message: str) -> None:
    given = {"owner": "ada", "why": "w", "starts_at": NOW, "ends_at": later(60), "now": NOW, "matchers": MATCHERS}
    with pytest.raises(ValueError, match=message), database.write() as session:
        silences.add(session, **{**given, **changes})  # type: ignore[arg-type]


def test_a_report_is_kept_once_a_key(database: Database) -> None:
    new = NewReport(key="drift:v1:w", kind="drift", digest="d", num_rows=10, num_reference=20, numbers={"drifted": 2})
    with database.write() as session:
        first = reports.add(session, new, now=NOW)
        assert reports.add(session, replace(new, digest="other"), now=later(5)) == first
        assert reports.find(session, "drift:v1:w") == reports.get(session, first.id) == first
        assert reports.list_reports(session) == [first]
        assert reports.list_reports(session, version=1) == []
        with pytest.raises(NotFound, match="There is no report 9"):
            reports.get(session, 9)
