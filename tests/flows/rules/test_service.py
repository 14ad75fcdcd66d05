"""What the service says of itself, and what is told when it says nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from db.repository import measurements, notifications
from flows.service.machine_levels import machine_levels
from flows.service.metrics import Metrics
from flows.steps.scraping import read_service
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from tests.flows import homes
from tests.flows.service.running import running


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


def test_a_service_that_is_not_ready_yet_is_not_said_to_fail() -> None:
    start, metrics = datetime(2026, 3, 1, tzinfo=UTC), Metrics(machine_levels)
    metrics.requests.labels("/v1/predict", "200").inc(30)
    _, seen = read_service(metrics.text().decode(), None, start)
    metrics.requests.labels("/v1/predict", "200").inc(30)
    metrics.requests.labels("/health/ready", "503").inc(60)
    numbers, _ = read_service(metrics.text().decode(), seen, start + timedelta(seconds=60))
    (rate,) = [number for number in numbers if number.metric == "error_rate"]
    assert (rate.value, rate.num_samples) == (0.0, 30)


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
