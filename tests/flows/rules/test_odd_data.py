"""NaN, stale, constant and missing data, a clock moved back, ten thousand names: a clear state, and no false alert."""

import pytest

from db.records import NewMeasurement, NewPrediction
from db.repository import feedback, measurements, outbox, predictions, rule_states, triggers
from flows.steps.capturing import keep_baseline
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import RuleSet
from tests.flows import homes, live
from tests.flows.rules.turns import RULES, feed, notices, open_alerts, turn

NAN = float("nan")


def log(ws: Workspace, num: int, *, latency_s: float | None = 0.01, confidence: float = 0.9, domain: str = "") -> None:
    """Answers with these numbers and feedback that they were right; without a domain, each is of its own."""
    rows = [
        NewPrediction(
            id=f"odd-{ws.clock().timestamp():.6f}-{number}",
            version=1,
            task="digit",
            answer="0",
            confidence=confidence,
            latency_s=latency_s,
            domain=domain or f"shop {number}",
            modalities=("text",),
        )
        for number in range(num)
    ]
    with ws.database.write() as session:
        predictions.log(session, rows, now=ws.clock())
        for row in rows[:500]:
            feedback.add(session, row.id, "0", origin="human:ann", now=ws.clock())


def quiet(ws: Workspace) -> bool:
    """Nobody was told anything, and nothing was asked for."""
    with ws.database.read() as session:
        return not (open_alerts(ws) or outbox.waiting(session, "notify") or triggers.pending(session))


def states(ws: Workspace) -> set[str]:
    with ws.database.read() as session:
        return {row.state for row in rule_states.all_states(session).values()}


@pytest.mark.parametrize("value", [NAN, float("inf"), None])
def test_numbers_that_are_none_are_no_data_and_no_alert(
    timed: Workspace, clock: homes.Clock, value: float | None
) -> None:
    keep_baseline(timed)
    for _ in range(5):
        log(timed, 60, latency_s=value, confidence=NAN, domain="en")
        turn(timed)
        clock.wait(minutes=1)
    found = turn(timed)
    assert quiet(timed)
    late = [entry for entry in found.values() if entry.rule.metric.startswith("latency")]
    assert late
    assert {entry.evaluation.status for entry in late} == {"no_data"}
    with timed.database.read() as session:
        kept = measurements.latest(session, "latency_p95")
    assert kept is None or kept.value is None, "never 0"


def test_a_measurement_of_nan_begins_nothing_and_ends_nothing(timed: Workspace, clock: homes.Clock) -> None:
    rules = parse_rules(DISK)
    for value in (0.5, NAN, 0.99, NAN, 0.99, NAN, NAN, 0.5, 0.5):
        with timed.database.write() as session:
            row = NewMeasurement(metric="queue_depth", value=value, num_samples=1)
            measurements.add(session, [row], now=clock())
        turn(timed, rules)
        clock.wait(minutes=1)
    assert notices(timed) == ["firing", "resolved"]


DISK = """
routing: {group_by: [name], group_wait: 0s, group_interval: 1m, repeat_interval: 1d}
rules:
  - {name: queue, metric: queue_depth, over: last, bound: absolute, side: upper, limit: 0.9, window: 50s, for: 0s,
     min_samples: 1, confidence: 0}
"""


def test_traffic_that_stops_is_no_data_and_not_the_last_number_for_ever(timed: Workspace, clock: homes.Clock) -> None:
    rules = parse_rules(RULES)
    feed(timed, 200, 0.95)
    assert turn(timed, rules)["accuracy low"].evaluation.status == "ok"
    clock.wait(minutes=30)
    stale = turn(timed, rules)["accuracy low"]
    assert (stale.evaluation.status, stale.state.state) == ("no_data", "no_data")
    assert quiet(timed)


def test_what_never_changes_is_no_alert(timed: Workspace, clock: homes.Clock) -> None:
    keep_baseline(timed)
    for _ in range(20):
        log(timed, 60, domain="en")
        turn(timed)
        clock.wait(minutes=3)
    assert quiet(timed)
    assert states(timed) <= {"inactive", "no_data"}


def test_a_clock_moved_back_tells_nothing_twice_and_loses_no_end(
    timed: Workspace, clock: homes.Clock, rules: RuleSet
) -> None:
    feed(timed, 200, 0.1)
    for _ in range(3):
        turn(timed, rules)
        clock.wait(minutes=1)
    assert notices(timed) == ["firing"]
    clock.wait(hours=-2)
    for _ in range(3):
        turn(timed, rules)
        clock.wait(minutes=1)
    assert notices(timed) == ["firing", "repeat"], "a notice from the future is repeated once, and no more is said"
    assert [alert.state for alert in open_alerts(timed)] == ["firing"]
    clock.wait(hours=3)
    for _ in range(15):
        feed(timed, 200, 0.95)
        turn(timed, rules)
        clock.wait(minutes=1)
    assert [word for word in notices(timed) if word != "repeat"] == ["firing", "resolved"]
    assert open_alerts(timed) == []


def test_ten_thousand_domains_make_a_bounded_number_of_slices_and_no_alert(
    timed: Workspace, clock: homes.Clock
) -> None:
    each = RULES.replace("min_samples: 50", "min_samples: 1, by: domain")
    late = each.replace("accuracy low, metric: accuracy", "late, metric: latency_p95").replace("lower", "upper")
    most = timed.settings.alerting.max_slices
    for rules in (parse_rules(each), parse_rules(late)):
        log(timed, 10_000)
        with timed.database.read() as session:
            before = len(rule_states.all_states(session))
        for _ in range(3):
            judged = watch_rules(timed, rules, fetch=lambda: None)
            assert len(judged) <= most + 1
            clock.wait(minutes=1)
        with timed.database.read() as session:
            assert len(rule_states.all_states(session)) - before <= most + 1
            for metric in ("accuracy", "latency_p95"):
                slices = {row.slice for row in measurements.series(session, metric)}
                assert len(slices) <= most + 1
    assert quiet(timed)


def test_without_any_data_every_rule_says_so(timed: Workspace) -> None:
    live.log(timed, [])
    found = turn(timed)
    assert {entry.evaluation.status for entry in found.values()} <= {"no_data", "ok"}
    of_traffic = [entry for entry in found.values() if entry.rule.metric in ("accuracy", "latency_p95")]
    assert {entry.evaluation.status for entry in of_traffic} == {"no_data"}
    assert quiet(timed)
