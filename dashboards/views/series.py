"""The numbers behind the charts: of one metric over time, of traffic, and of latency by the modalities asked with."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from starlette.responses import Response

from dashboards.charts import Band, Chart, Line, as_csv, as_json, lines, marks
from dashboards.pages import File
from dashboards.problems import Problem
from dashboards.rendering import duration
from dashboards.site import Visit
from dashboards.stretch import Stretch
from dashboards.vitals import rules_in_force
from db.records import Baseline
from db.records.series import Point
from db.repository import measurements, series
from monitoring.alerting.rule import Rule
from monitoring.measures.latency import quantile
from monitoring.measures.live_catalogue import KNOWN
from monitoring.measures.window import OF_FEEDBACK, OF_LOG
from monitoring.vitals import BASELINE

BASE_WINDOW_S = 900.0
"""What is measured of the log for pages, whatever the rules ask for."""
MOST_POINTS, MOST_OF_MANY = 1_000, 300
"""Points of a line, alone and among others."""
NUM_STRETCHES = 48


class Series(Stretch):
    """A metric besides."""

    metric: str = Field(max_length=80)


def chart(visit: Visit, asked: Series) -> Chart:
    """One metric with its limits, its baseline, and what happened meanwhile."""
    since, until = asked.ends(visit.now)
    measure = KNOWN.get(asked.metric)
    rules = _rules_of(visit, asked)
    window_s = window_of(asked.metric, rules)
    points = _points(visit, asked, window_s)
    if not points and window_s not in (None, BASE_WINDOW_S):
        window_s, points = BASE_WINDOW_S, _points(visit, asked, BASE_WINDOW_S)
    times, found, num_left_out = lines(points, _names(points, asked))
    told = [] if window_s is None else [f"Each value is over the {duration(window_s)} before it."]
    if num_left_out:
        told.append(f"{num_left_out} more lines with fewer samples are left out.")
    baseline = baseline_of(measurements.get_baseline(visit.session, BASELINE), asked)
    return Chart(
        title=asked.metric,
        unit=measure.unit if measure else "",
        times=times,
        series=found,
        band=band_of(rules, baseline),
        baseline=baseline,
        marks=marks(
            series.moves(visit.session, since=since, until=until),
            series.alerts(visit.session, since=since, until=until),
            asked.metric,
        ),
        span=(since.timestamp(), until.timestamp()),
        note=" ".join(told),
    )


def _points(visit: Visit, asked: Series, window_s: float | None) -> list[Point]:
    since, until = asked.ends(visit.now)
    return series.of_metric(
        visit.session,
        asked.metric,
        since=since,
        until=until,
        kind=asked.by,
        only=asked.only,
        version=asked.version,
        window_s=window_s,
        most=MOST_POINTS if asked.by == "all" or asked.only else MOST_OF_MANY,
    )


def traffic(visit: Visit, asked: Stretch) -> Chart:
    """Answers a minute of each version, from the log of predictions."""
    since, until = asked.ends(visit.now)
    points = series.traffic(visit.session, since=since, until=until)
    minutes = series.width_s(since, until, 300) / 60
    chosen = [point for point in points if asked.version is None or point.line == str(asked.version)]
    times, found, _ = lines(chosen, {point.line: f"v{point.line}" for point in chosen})
    rates = [
        Line(name=line.name, values=[None if value is None else value / minutes for value in line.values])
        for line in found
    ]
    happened = marks(series.moves(visit.session, since=since, until=until), [], None)
    return Chart(
        title="Traffic",
        unit="/min",
        times=times,
        series=rates,
        marks=happened,
        span=(since.timestamp(), until.timestamp()),
    )


def latency(visit: Visit, asked: Stretch) -> Chart:
    """The 95th percentile of latency by the modalities that a request had, from the log of predictions."""
    since, until = asked.ends(visit.now)
    width, limit = series.width_s(since, until, NUM_STRETCHES), 20_000
    rows = series.latencies(visit.session, since=since, until=until, version=asked.version, limit=limit)
    gathered: dict[tuple[str, int], list[float]] = {}
    for at, modalities, latency_s in rows:
        place = int((at - since).total_seconds() // width)
        gathered.setdefault(("+".join(sorted(modalities)) or "(none)", place), []).append(latency_s)
    points = [
        Point(
            line=subset,
            bucket=place,
            at=int(since.timestamp()) + place * width,
            value=quantile(np.array(values), 0.95),
            num_samples=len(values),
        )
        for (subset, place), values in sorted(gathered.items(), key=lambda item: item[0][1])
    ]
    times, found, _ = lines(points, {point.line: point.line for point in points})
    note = f"From the latest {limit:,} answers." if len(rows) == limit else ""
    happened = marks(series.moves(visit.session, since=since, until=until), [], None)
    return Chart(
        title="Latency by modality",
        unit="s",
        times=times,
        series=found,
        marks=happened,
        note=note,
        span=(since.timestamp(), until.timestamp()),
    )


def window_of(metric: str, rules: list[Rule]) -> float | None:
    """The window that the shown values rest on; None where there is only one."""
    if metric not in (*OF_LOG, *OF_FEEDBACK):
        return None
    return rules[0].window_s if rules else BASE_WINDOW_S


def baseline_of(known: Baseline | None, asked: Series) -> float | None:
    """What the values are compared with; None where each line has its own."""
    if known is None or (asked.by not in ("all", "version") and not asked.only):
        return None
    metrics = known.values.get("metrics", {})
    slice_ = "all" if asked.by in ("all", "version") else f"{asked.by}={asked.only}"
    found = metrics.get(slice_, {}).get(asked.metric)
    if found is None and asked.metric in OF_FEEDBACK:
        found = metrics.get("all", {}).get(asked.metric)
    return None if found is None else found.get("value")


def band_of(rules: list[Rule], baseline: float | None) -> Band | None:
    """What the rules allow, the strictest of each side; None without a limit that is known."""
    bounds = [(rule.bound.side, rule.bound.at(baseline)) for rule in rules]
    highs = [bound for side, bound in bounds if side == "upper" and bound is not None]
    lows = [bound for side, bound in bounds if side == "lower" and bound is not None]
    return Band(low=max(lows, default=None), high=min(highs, default=None)) if highs or lows else None


def _rules_of(visit: Visit, asked: Series) -> list[Rule]:
    kind = "all" if asked.by == "version" else asked.by
    try:
        rules = rules_in_force(visit.site).rules
    except ValueError:  # the page says what is wrong with them
        return []
    return [rule for rule in rules if rule.metric == asked.metric and rule.by == kind]


def _names(points: list[Point], asked: Series) -> dict[str, str]:
    if asked.by == "all":
        return {"all": asked.metric}
    if asked.by == "version":
        return {point.line: "no version" if point.line == "0" else f"v{point.line}" for point in points}
    return {}


def _known(visit: Visit, asked: Series) -> Chart:
    if not asked.metric.replace("_", "").isalnum():
        raise Problem(422, f"metric: {asked.metric[:80]!r} is no name of a measure. The monitoring page lists them.")
    return chart(visit, asked)


def _json(visit: Visit, asked: Series) -> Response:
    return as_json(_known(visit, asked))


def _csv(visit: Visit, asked: Series) -> Response:
    return as_csv(_known(visit, asked), asked.metric)


PARTS = (
    File(path="/monitoring/series.json", fetch=_json, asks=Series),
    File(path="/monitoring/series.csv", fetch=_csv, asks=Series),
    File(path="/monitoring/traffic.json", fetch=lambda visit, asked: as_json(traffic(visit, asked)), asks=Stretch),
    File(
        path="/monitoring/traffic.csv",
        fetch=lambda visit, asked: as_csv(traffic(visit, asked), "traffic"),
        asks=Stretch,
    ),
    File(path="/monitoring/latency.json", fetch=lambda visit, asked: as_json(latency(visit, asked)), asks=Stretch),
    File(
        path="/monitoring/latency.csv",
        fetch=lambda visit, asked: as_csv(latency(visit, asked), "latency"),
        asks=Stretch,
    ),
)
