"""The watch from the log of predictions to the notice: measured, held to the rules, told once, resolved once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from db.records import Alert
from db.repository import alerts, measurements, notifications, outbox, rule_states, silences, triggers
from flows.pulse import Pulse
from flows.service.machine_levels import machine_levels
from flows.service.metrics import Metrics
from flows.steps.answering import answer
from flows.steps.capturing import capture, keep_baseline
from flows.steps.ingesting import ingest
from flows.steps.judging import Judged
from flows.steps.known import baseline_in_force
from flows.steps.probing import probe
from flows.steps.replaying import replay_rules, since_of
from flows.steps.scraping import read_service
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import RuleSet
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample, Value
from tests.flows import homes, live
from tests.flows.service.running import running

RULES = """
routing: {group_by: [name], group_wait: 0s, group_interval: 1m, repeat_interval: 1h}
rules:
  - {name: accuracy low, metric: accuracy, bound: relative, side: lower, limit: 0.1, window: 10m, for: 1m,
     min_samples: 50, severity: critical, receivers: [log], action: round, summary: Worse., mend: Look.}
"""


@pytest.fixture
def clock() -> homes.Clock:
    return homes.Clock(now=datetime.now(UTC))


@pytest.fixture
def timed(ws: Workspace, clock: homes.Clock) -> Workspace:
    return ws.with_(clock=clock)


@pytest.fixture
def rules() -> RuleSet:
    return parse_rules(RULES)


def turn(ws: Workspace, rules: RuleSet | None = None) -> dict[str, Judged]:
    return {entry.rule.name: entry for entry in watch_rules(ws, rules, fetch=lambda: None)}


def open_alerts(ws: Workspace) -> list[Alert]:
    with ws.database.read() as session:
        return alerts.list_alerts(session, is_open=True)


def notices(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [entry.reason for entry in notifications.list_notifications(session)][::-1]


def feed(ws: Workspace, num: int, share: float) -> None:
    """Live answers with feedback, of which this share was right."""
    live.answer_right(ws, live.log(ws, live.usual(ws, num), at_once=True), share)


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


# Faults that are put in


@dataclass(frozen=True)
class Fault:
    """What happens to live samples, and the alerts that it must raise and may raise besides."""

    change: Callable[[Sample], Sample]
    must: set[str]
    domain: str = "en"


def inverted(sample: Sample) -> Sample:
    """The camera's picture as a negative."""
    return changed(sample, "image", lambda value: 255 - np.asarray(value))


def quieter(sample: Sample) -> Sample:
    """The microphone's gain turned down to a tenth."""
    return changed(sample, "audio", lambda value: np.asarray(value) * np.float32(0.1))


def garbled(sample: Sample) -> Sample:
    """Text in another script."""
    return changed(sample, "text", lambda _: "пять семь")


def changed(sample: Sample, modality: str, how: Callable[[Value], Value]) -> Sample:
    inputs = {name: how(value) if name == modality else value for name, value in sample.inputs.items()}
    return replace(sample, inputs=inputs)


FAULTS = {
    "none": Fault(lambda sample: sample, set()),
    "camera inverted": Fault(inverted, {"image"}),
    "microphone quiet": Fault(quieter, {"audio"}),
    "another script": Fault(garbled, {"text"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_modality_is_told_of_that_modality_and_of_none_other(
    timed: Workspace, clock: homes.Clock, name: str
) -> None:
    fault = FAULTS[name]
    keep_baseline(timed)
    rows = [fault.change(replace(row, answer=None)) for row in tri_digits.live("en", 64, seed=7)]
    ingest(timed, write_manifest(rows, timed.home / "arrivals" / "faulty"))
    answer(timed, [row.id for row in rows])
    assert probe(timed) > 0
    for _ in range(4):
        turn(timed)
        clock.wait(seconds=60)
    raised = open_alerts(timed)
    of_inputs = [alert for alert in raised if alert.name in ("inputs drift", "embeddings drift")]
    assert {alert.labels["modality"] for alert in of_inputs} == fault.must, [alert.summary for alert in raised]
    assert raised == [] or fault.must, [alert.summary for alert in raised]


# The service and the machine


def page(*, hits: int = 0, failed: int = 0, dropped: int = 0) -> str:
    """A page of metrics as the service writes it, and a few counters more."""
    metrics = Metrics(machine_levels)
    for status, num in (("200", 100), ("500", failed)):
        metrics.requests.labels("/v1/predict", status).inc(num)
    counters = {"omniloop_cache_hits_total": hits, "omniloop_cache_misses_total": 10, "omniloop_queued_rows": 3}
    more = "".join(f"{name} {value}\n" for name, value in (counters | {"omniloop_log_dropped_total": dropped}).items())
    return metrics.text().decode() + more


def test_what_the_service_says_of_itself_is_read_as_what_came_since() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    first, seen = read_service(page(hits=10), None, start)
    assert {number.metric for number in first} == {"queue_depth", "memory_resident", "memory_fragmentation"}
    second, _ = read_service(page(hits=40, failed=5, dropped=7), seen, start + timedelta(seconds=60))
    found = {number.metric: number for number in second}
    assert found["cache_hit_rate"].value == 1.0
    assert (found["error_rate"].value, found["error_rate"].num_samples) == (1.0, 5)
    assert found["log_dropped"].value == 7
    assert found["device_utilisation"].detail["device"] == "cpu"
    assert found["device_utilisation"].value is not None


def test_a_service_that_dies_is_told_and_what_follows_from_it_is_not(timed: Workspace, clock: homes.Clock) -> None:
    rules = parse_rules(DOWN)
    for minute in range(10):
        is_up = minute < 3 or minute > 6
        watch_rules(timed, rules, fetch=lambda is_up=is_up: page() if is_up else None)  # type: ignore[misc]
        clock.wait(seconds=60)
    with timed.database.read() as session:
        told = [(entry.group_key, entry.reason) for entry in notifications.list_notifications(session)][::-1]
    assert told == [("name=service down", "firing"), ("name=service down", "resolved")]


DOWN = """
routing: {group_by: [name], group_wait: 0s, group_interval: 1m, repeat_interval: 1h}
rules:
  - {name: service down, metric: service_up, over: last, bound: absolute, side: lower, limit: 0.5, window: 3m,
     for: 1m, min_samples: 1, confidence: 0}
  - {name: no queue, metric: queue_depth, over: last, bound: absolute, side: upper, limit: 100, window: 90s, for: 30s,
     min_samples: 1, confidence: 0, no_data: alert}
inhibit:
  - {source: {name: service down}, target: {name: no queue}}
"""


def test_a_real_service_is_measured_until_it_stops(timed: Workspace, clock: homes.Clock) -> None:
    with running(timed) as (client, _):
        port = client.base_url.port or 0
        here = replace(timed.settings.service, port=port)
        asked = timed.with_(settings=timed.settings.model_copy(update={"service": here}))
        for _ in range(2):
            watch_rules(asked)
            clock.wait(seconds=60)
    watch_rules(asked)
    with timed.database.read() as session:
        up = [row.value for row in measurements.series(session, "service_up")]
        busy = measurements.latest(session, "device_utilisation")
        lying = measurements.latest(session, "memory_fragmentation")
    assert up == [1.0, 1.0, 0.0]
    assert busy is not None
    assert busy.detail["device"] == "cpu"
    assert lying is not None
    assert lying.detail["allocator"] == "glibc"


# What a rule may ask for


def test_a_rule_may_take_a_version_on_probation_back(
    timed: Workspace, clock: homes.Clock, right: Mapping[str, str]
) -> None:
    keep_baseline(timed)
    homes.run_whole_round(timed, right)
    assert homes.states(timed)[2] == "probation"
    feed(timed, 200, 0.1)
    rules = parse_rules(RULES.replace("action: round", "action: rollback"))
    for _ in range(3):
        turn(timed, rules)
        clock.wait(seconds=60)
    assert homes.states(timed)[2] == "rolled_back"
    assert homes.serving(timed).version == 1
    assert homes.trail(timed, 2)[-1].who == "rule"


def test_the_program_s_own_alerts_are_told_too(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    def broken() -> None:
        raise OSError("no space left on device")

    Pulse(timed).guarded("deliver", broken)
    turn(timed, rules)
    assert notices(timed) == ["firing"]
    Pulse(timed).guarded("deliver", lambda: None)
    clock.wait(seconds=90)
    turn(timed, rules)
    assert notices(timed) == ["firing", "resolved"]


def test_a_kill_before_the_commit_repeats_the_turn_and_tells_once(
    timed: Workspace, clock: homes.Clock, rules: RuleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(timed, 200, 0.1)
    turn(timed, rules)
    clock.wait(seconds=60)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flows.steps.judging.tell", killed)
        with pytest.raises(KeyboardInterrupt):
            turn(timed, rules)
    assert open_alerts(timed) == []
    turn(timed, rules)
    turn(timed, rules)
    assert notices(timed) == ["firing"]
    with timed.database.read() as session:
        assert len(outbox.waiting(session, "notify")) == 1


def test_the_rules_are_replayed_over_the_record_without_moving_anything(
    timed: Workspace, clock: homes.Clock, rules: RuleSet
) -> None:
    feed(timed, 200, 0.1)
    for _ in range(4):
        turn(timed, rules)
        clock.wait(seconds=60)
    before = notices(timed)
    (found,) = replay_rules(timed, rules, since=since_of(timed, 3600))
    assert (found.slice, found.result.num_evaluations, len(found.result.episodes)) == ("all", 4, 1)
    gentle = parse_rules(RULES.replace("limit: 0.1", "limit: 0.95"))
    assert replay_rules(timed, gentle, since=since_of(timed, 3600))[0].result.episodes == ()
    assert notices(timed) == before
