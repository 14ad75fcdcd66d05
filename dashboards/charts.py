"""What a picture is made of, as `charts.js` draws it: times, lines, limits, a baseline, and what happened meanwhile."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json
from starlette.responses import Response

from db.records import Alert, AuditEntry
from db.records.series import Point

MOST_LINES = 12
"""Lines of one picture; of more, those with the most samples."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, a value or None a time."""

    name: str
    values: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is allowed, in the unit of the values; None: no limit on that side."""

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened."""

    at: float
    """In seconds since 1970."""
    text: str
    kind: str
    """`promotion`, `rollback` or `alert`."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything in one picture."""

    title: str
    unit: str
    times: list[float]
    """In seconds since 1970."""
    series: list[Line]
    band: Band | None = None
    baseline: float | None = None
    marks: Sequence[Mark] = ()
    span: tuple[float, float] | None = None
    """From when to when was asked for; None: as far as there are times."""
    note: str = ""
    """One more sentence below the picture."""


def lines(points: Sequence[Point], names: Mapping[str, str] | None = None) -> tuple[list[float], list[Line], int]:
    """Points as lines over common times; also how many lines were left out. `names` says what lines are called.

    >>> point = Point(line="domain=en", bucket=0, at=60, value=0.5, num_samples=9)
    >>> lines([point])
    ([60.0], [Line(name='en', values=[0.5])], 0)
    """
    samples: dict[str, int] = {}
    at: dict[int, int] = {}
    for point in points:
        samples[point.line] = samples.get(point.line, 0) + point.num_samples
        at[point.bucket] = max(at.get(point.bucket, 0), point.at)
    kept = sorted(sorted(samples, key=lambda line: -samples[line])[:MOST_LINES])
    places = {bucket: place for place, bucket in enumerate(sorted(at))}
    values: dict[str, list[float | None]] = {line: [None] * len(places) for line in kept}
    for point in points:
        if point.line in values:
            values[point.line][places[point.bucket]] = point.value
    known = names or {}
    found = [
        Line(name=known.get(line, line.partition("=")[2] or line or "(none)"), values=values[line]) for line in kept
    ]
    return [float(at[bucket]) for bucket in sorted(at)], found, len(samples) - len(kept)


def marks(moves: Sequence[AuditEntry], alerts: Sequence[Alert], metric: str | None) -> list[Mark]:
    """What happened: versions that came into or went out of service, and the alerts about this metric."""
    found = []
    for move in moves:
        if move.to_state == "rolled_back":
            found.append(
                Mark(at=move.at.timestamp(), text=f"v{move.version} rolled back by {move.who}", kind="rollback")
            )
        elif move.from_state != "probation":
            text = f"v{move.version} put into service by {move.who}"
            found.append(Mark(at=move.at.timestamp(), text=text, kind="promotion"))
    for alert in alerts:
        if metric is not None and alert.labels.get("metric") == metric:
            at = alert.fired_at or alert.started_at
            ended = f", over at {alert.resolved_at:%m-%d %H:%M}" if alert.resolved_at else ", still open"
            found.append(Mark(at=at.timestamp(), text=f"alert {alert.id}: {alert.name}{ended}", kind="alert"))
    return sorted(found, key=lambda mark: mark.at)


def as_json(chart: Chart) -> Response:
    """The picture for `charts.js` and for programs."""
    return Response(
        to_json(chart, inf_nan_mode="null"), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def as_csv(chart: Chart, name: str) -> Response:
    """The numbers as a table, a time a line."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["time_utc", *(cell(line.name) for line in chart.series)])
    for place, at in enumerate(chart.times):
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        writer.writerow([moment, *("" if line.values[place] is None else line.values[place] for line in chart.series)])
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula.

    >>> cell("=1+1"), cell("en")
    ("'=1+1", 'en')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
