"""The watch from the log of predictions to the notice: measured, held to the rules, told once, resolved once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from db.repository import measurements, outbox, rule_states, silences, triggers
from flows.steps.capturing import capture, keep_baseline
from flows.steps.known import baseline_in_force
from flows.steps.probing import probe
from flows.workspace import Workspace
from monitoring.alerting.rule import RuleSet
from tests.flows import homes, live
from tests.flows.rules.turns import feed, notices, open_alerts, turn


def test_a_home_without_traffic_is_not_called_well_and_tells_nobody(timed: Workspace) -> None:
    found = turn(timed)
    by_status = {name: entry.evaluation.status for name, entry in found.items()}
    assert by_status["accuracy low"] == by_status["latency high"] == by_status["service down"] == "no_data"
    assert by_status["disk full soon"] in ("ok", "breach")
    assert [alert.name for alert in open_alerts(timed)] == []
    assert notices(timed) == []


def test_a_baseline_is_captured_when_a_version_is_accepted_and_only_once(timed: Workspace) -> None:
    assert keep_baseline(timed) is not None
    assert keep_baseline(timed) is None
    with timed.database.read() as session:
        known = baseline_in_force(session)
    accuracy = known.reading("accuracy", "all")
    assert accuracy is not None
    assert accuracy.value == pytest.approx(live.validated(timed).num_right / live.validated(timed).num_labelled)
    assert accuracy.num_samples == 30
    assert accuracy.spread is not None
    assert {"alignment_error", "instruction_following", "modality_balance", "accuracy", "ece"} <= set(
        known.metrics["all"]
    )
    assert known.reference


def test_a_baseline_that_cannot_be_captured_keeps_no_rule_from_being_judged(
    timed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("flows.steps.watching_rules.keep_baseline", broken)
    with pytest.raises(OSError, match="no space"):
        turn(timed)
    with timed.database.read() as session:
        assert "disk full soon" in {state.rule for state in rule_states.all_states(session).values()}


def test_a_fall_of_accuracy_is_told_once_after_its_time_and_resolved_once(
    timed: Workspace, clock: homes.Clock, rules: RuleSet
) -> None:
    feed(timed, 200, 0.1)
    assert turn(timed, rules)["accuracy low"].state.state == "pending"
    assert open_alerts(timed) == []
    clock.wait(seconds=60)
    assert turn(timed, rules)["accuracy low"].state.state == "firing"
    (alert,) = open_alerts(timed)
    assert (alert.name, alert.version, alert.value, alert.mend) == ("accuracy low", 1, 0.1, "Look.")
    assert alert.baseline is not None
    for _ in range(5):
        clock.wait(seconds=60)
        turn(timed, rules)
    assert notices(timed) == ["firing"]
    clock.wait(minutes=20)
    feed(timed, 200, 1.0)
    turn(timed, rules)
    assert open_alerts(timed) == []
    assert notices(timed) == ["firing", "resolved"]
    clock.wait(seconds=120)
    turn(timed, rules)
    assert notices(timed) == ["firing", "resolved"]


def test_it_asks_for_a_round_once(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    feed(timed, 200, 0.1)
    for _ in range(4):
        turn(timed, rules)
        clock.wait(seconds=60)
    with timed.database.read() as session:
        (request,) = triggers.pending(session)
    assert (request.kind, request.num_requests, request.detail["rule"]) == ("performance", 1, "accuracy low")


def test_a_firing_alert_does_not_end_for_want_of_data(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    feed(timed, 200, 0.1)
    for _ in range(3):
        turn(timed, rules)
        clock.wait(seconds=60)
    clock.wait(hours=2)
    entry = turn(timed, rules)["accuracy low"]
    assert (entry.evaluation.status, entry.state.state) == ("no_data", "firing")
    assert notices(timed) == ["firing", "repeat"]
    clock.wait(hours=24)
    turn(timed, rules)
    assert open_alerts(timed) == []


def test_a_silence_keeps_it_from_being_told(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    now = timed.clock()
    with timed.database.write() as session:
        matchers = [{"label": "name", "value": "accuracy.*", "is_regex": True, "is_equal": True}]
        silences.add(
            session, matchers, owner="ann", why="known", starts_at=now, ends_at=now + timedelta(hours=1), now=now
        )
    feed(timed, 200, 0.1)
    for _ in range(3):
        clock.wait(seconds=60)
        turn(timed, rules)
    assert len(open_alerts(timed)) == 1
    assert notices(timed) == []
    clock.wait(hours=1)
    turn(timed, rules)
    assert notices(timed) == ["firing"]


def test_a_rule_that_is_taken_out_ends_its_alert(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    feed(timed, 200, 0.1)
    for _ in range(3):
        turn(timed, rules)
        clock.wait(seconds=60)
    assert len(open_alerts(timed)) == 1
    turn(timed, replace(rules, rules=()))
    assert open_alerts(timed) == []
    assert notices(timed) == ["firing", "resolved"]
    with timed.database.read() as session:
        assert rule_states.all_states(session) == {}


def test_a_clean_day_raises_nothing(timed: Workspace, clock: homes.Clock) -> None:
    share = live.validated(timed).num_right / live.validated(timed).num_labelled
    for minute in range(0, 60, 6):
        live.answer_right(timed, live.log(timed, live.usual(timed, 60, seed=minute), at_once=True), share)
        turn(timed)
        clock.wait(minutes=6)
    assert [alert.name for alert in open_alerts(timed)] == []
    with timed.database.read() as session:
        assert triggers.pending(session) == []
        assert outbox.waiting(session, "notify") == []


def test_recent_samples_are_asked_again_once(timed: Workspace) -> None:
    keep_baseline(timed)
    homes.give_live_feedback(timed, "es", num=40)
    assert probe(timed) > 0
    assert probe(timed) == 0
    with timed.database.read() as session:
        followed = measurements.latest(session, "instruction_following", version=1)
        aligned = measurements.latest(session, "alignment_error", version=1)
        balance = measurements.latest(session, "modality_balance", version=1)
        drift = measurements.series(session, "modality_drift", version=1)
    assert followed is not None
    assert followed.num_samples == 40
    assert aligned is not None
    assert aligned.detail["gallery"] == 30
    assert balance is not None
    assert set(balance.detail["shapley"]) == {"audio", "image", "text"}
    assert {row.slice for row in drift} == {"modality=audio", "modality=image", "modality=text"}


def test_a_person_may_capture_the_baseline_again(timed: Workspace) -> None:
    first = keep_baseline(timed)
    second = capture(timed, who="ann", why="The camera was changed.")
    assert first is not None
    assert second.id > first.id
    assert second.values["who"] == "ann"
