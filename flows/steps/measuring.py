"""Measuring: what the log of predictions, the service and the disk say now, written down as measurements.

Nothing is judged here. A number that could not be measured is written as None with its samples, or not at all where
there was nothing to measure; neither is ever taken for a good value.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import httpx

from db.records import Measurement, NewMeasurement, Prediction
from db.repository import feedback, measurements, predictions, versions
from flows.service.own_key import own_key
from flows.steps.baselines import combination
from flows.steps.scraping import read_service
from flows.workspace import Workspace
from monitoring.alerting.rule import Rule
from monitoring.measures.window import KINDS, OF_FEEDBACK, OF_LOG, Number, Row, measure, measure_feedback

BASE_WINDOW_S = 900.0
"""Window of what is measured even if no rule asks for it, for pages."""
INSTANT = timedelta(microseconds=1)
Fetch = Callable[[], str | None]


def measure_now(ws: Workspace, rules: Sequence[Rule], *, fetch: Fetch | None = None) -> int:
    """Measure everything that the rules and the pages ask for; returns how many numbers were written."""
    now, text = ws.clock(), (fetch or service_metrics(ws))()  # together: counters are held against this time
    with ws.database.read() as session:
        version = versions.serving(session).version
        before = measurements.latest(session, "service_up")
    found = [] if version is None else of_version(ws, version, rules, now)
    found += of_service(before, text, now)
    found.append(of_disk(ws))
    with ws.database.write() as session:
        return measurements.add(session, found, now=now)


def of_version(ws: Workspace, version: int, rules: Sequence[Rule], now: datetime) -> list[NewMeasurement]:
    """What log and feedback say of the version in service, over each window that a rule has."""
    found = []
    for metrics, window_numbers in ((OF_LOG, log_numbers), (OF_FEEDBACK, feedback_numbers)):
        asking = [rule for rule in rules if rule.metric in metrics]
        for window_s in sorted({BASE_WINDOW_S, *(rule.window_s for rule in asking)}):
            of_window = [rule for rule in asking if rule.window_s == window_s]
            kinds = [kind for kind in KINDS if any(rule.by == kind for rule in of_window)]
            wanted = {(rule.metric, rule.by) for rule in of_window}
            numbers = window_numbers(ws, version, window_s, now, kinds)
            found += [
                as_measurement(number, version, window_s)
                for number in numbers
                if (number.metric, number.slice.partition("=")[0]) in wanted
                or (number.slice == "all" and window_s == BASE_WINDOW_S)
            ]
    return found


def log_numbers(
    ws: Workspace, version: int, window_s: float, now: datetime, kinds: Sequence[str] = KINDS
) -> list[Number]:
    """Numbers of the answers in the last `window_s`; in a flood, of the latest of them."""
    config, start = ws.settings.alerting, now - timedelta(seconds=window_s)
    with ws.database.read() as session:
        rows = predictions.newest(session, start, now + INSTANT, version=version, limit=config.max_rows)
    return measure([row_of(row) for row in rows], kinds=kinds, max_slices=config.max_slices)


def feedback_numbers(
    ws: Workspace, version: int, window_s: float, now: datetime, kinds: Sequence[str] = KINDS
) -> list[Number]:
    """Numbers of the feedback that came in the last `window_s`, or the latest of it as above."""
    config, since = ws.settings.alerting, now - timedelta(seconds=window_s)
    with ws.database.read() as session:
        scored = feedback.newest(session, version=version, since=since, limit=config.max_rows)
    rows = [row_of(entry.prediction, is_correct=entry.is_correct) for entry in scored if entry.feedback.at <= now]
    return measure_feedback(rows, kinds=kinds, max_slices=config.max_slices)


def row_of(prediction: Prediction, *, is_correct: bool | None = None) -> Row:
    """A logged answer as the measures take it."""
    entropy = prediction.detail.get("entropy")
    return Row(
        domain=prediction.domain,
        task=prediction.task,
        modalities=combination(prediction.modalities),
        confidence=prediction.confidence,
        entropy=entropy if isinstance(entropy, int | float) else None,
        latency_s=prediction.latency_s,
        is_correct=is_correct,
    )


def of_service(before: Measurement | None, text: str | None, now: datetime) -> list[NewMeasurement]:
    """What the service says of itself. One that never answered is not said to be down: perhaps nobody runs it."""
    if text is None:
        if before is None:
            return []
        return [
            NewMeasurement(metric="service_up", value=0.0, num_samples=1, detail={"seen": before.detail.get("seen")})
        ]
    seen = None if before is None else before.detail.get("seen")
    numbers, counters = read_service(text, seen, now)
    up = NewMeasurement(metric="service_up", value=1.0, num_samples=1, detail={"seen": counters})
    return [as_measurement(number, None, None) for number in numbers] + [up]


def of_disk(ws: Workspace) -> NewMeasurement:
    """How full the disk of the home is."""
    disk = shutil.disk_usage(ws.home)
    return NewMeasurement(
        metric="disk_used", value=1 - disk.free / disk.total, num_samples=1, detail={"free_bytes": disk.free}
    )


def service_metrics(ws: Workspace) -> Fetch:
    """Asks the service of these settings for its metrics; None if it does not answer, or if its port is not known."""
    config = ws.settings.service
    host = "127.0.0.1" if config.host == "0.0.0.0" else f"[{config.host}]" if ":" in config.host else config.host
    headers = {"Authorization": f"Bearer {config.api_key or own_key(ws.home)}"}

    def fetch() -> str | None:
        if config.port == 0:
            return None
        try:
            answer = httpx.get(f"http://{host}:{config.port}/metrics", headers=headers, timeout=3, trust_env=False)
            return answer.text if answer.status_code == 200 else None
        except httpx.HTTPError:
            return None

    return fetch


def as_measurement(number: Number, version: int | None, window_s: float | None) -> NewMeasurement:
    """A number on its way into the table, with its spread and the window that it is about."""
    detail = dict(number.detail) | ({"window_s": window_s} if window_s else {})
    if number.spread is not None:
        detail["spread"] = number.spread
    return NewMeasurement(
        metric=number.metric,
        slice=number.slice,
        version=version,
        value=number.value,
        num_samples=number.num_samples,
        detail=detail,
    )
