"""Numbers over time for pictures: gathered into at most so many points in the database, in one pass over an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil

from sqlalchemy import BigInteger, cast, extract, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from db.models import AlertRow, AuditRow, MeasurementRow, PredictionRow
from db.records import Alert, AuditEntry
from db.records.series import Point
from db.repository.common import fetch_all, rows_of

MOVES = ("probation", "accepted", "rolled_back")
"""States of a release that change what is in service."""
MOST_MARKS = 200


def width_s(since: datetime, until: datetime, most: int) -> int:
    """Seconds of one of at most `most` stretches between two moments; one at least.

    >>> from datetime import UTC, timedelta
    >>> start = datetime(2026, 3, 1, tzinfo=UTC)
    >>> width_s(start, start + timedelta(days=1), 1000), width_s(start, start, 10)
    (87, 1)
    """
    return max(1, ceil((until - since).total_seconds() / most))


def of_metric(
    session: Session,
    metric: str,
    *,
    since: datetime,
    until: datetime,
    kind: str = "all",
    only: str = "",
    version: int | None = None,
    window_s: float | None = None,
    most: int = 1_000,
) -> list[Point]:
    """A metric between two moments, at most `most` points a line, oldest first.

    `kind`: `all`, the kind of slice that makes a line each (`domain` …), or `version` for one line a version; `only`:
    one slice of that kind. `version`: what was measured of it or of none. `window_s`: of windows of that length.
    """
    width, start = width_s(since, until, most), int(since.timestamp())
    epoch = cast(extract("epoch", MeasurementRow.at), BigInteger)
    bucket = ((epoch - start) // width).label("bucket")
    line = func.coalesce(MeasurementRow.version, 0) if kind == "version" else MeasurementRow.slice
    statement = (
        select(
            line.label("line"),
            bucket,
            func.max(epoch).label("at"),
            func.avg(MeasurementRow.value).label("value"),
            func.sum(MeasurementRow.num_samples).label("num_samples"),
        )
        .where(MeasurementRow.metric == metric, MeasurementRow.at >= since, MeasurementRow.at <= until)
        .group_by(line, bucket)
        .order_by(bucket)
    )
    if kind in ("all", "version"):
        statement = statement.where(MeasurementRow.slice == "all")
    elif only:
        statement = statement.where(MeasurementRow.slice == f"{kind}={only}")
    else:
        statement = statement.where(MeasurementRow.slice.startswith(f"{kind}=", autoescape=True))
    if version is not None:
        statement = statement.where(or_(MeasurementRow.version.is_(None), MeasurementRow.version == version))
    if window_s is not None:
        statement = statement.where(MeasurementRow.detail["window_s"].as_float() == window_s)
    return [
        Point(line=str(row.line), bucket=row.bucket, at=row.at, value=row.value, num_samples=int(row.num_samples))
        for row in session.execute(statement)
    ]


def measured(session: Session) -> list[tuple[str, str]]:
    """Every metric and slice that there is a number of, by hops over the index: as quick with millions of rows."""
    first = select(MeasurementRow.metric, MeasurementRow.slice)
    first = first.order_by(MeasurementRow.metric, MeasurementRow.slice).limit(1)
    start = first.subquery()
    seen = select(start.c.metric, start.c.slice).cte("seen", recursive=True)
    row = aliased(MeasurementRow)

    def following(column: str) -> object:
        later = tuple_(row.metric, row.slice) > tuple_(seen.c.metric, seen.c.slice)
        return select(getattr(row, column)).where(later).order_by(row.metric, row.slice).limit(1).scalar_subquery()

    hop = select(following("metric"), following("slice")).where(seen.c.metric.is_not(None))  # type: ignore[call-overload]
    seen = seen.union_all(hop)
    found = session.execute(select(seen.c.metric, seen.c.slice).where(seen.c.metric.is_not(None)))
    return [(metric, slice_) for metric, slice_ in found]


def traffic(session: Session, *, since: datetime, until: datetime, most: int = 300) -> list[Point]:
    """Answers a stretch of time between two moments, one line a version."""
    width, start = width_s(since, until, most), int(since.timestamp())
    epoch = cast(extract("epoch", PredictionRow.at), BigInteger)
    bucket = ((epoch - start) // width).label("bucket")
    statement = (
        select(PredictionRow.version, bucket, func.count().label("num"))
        .where(PredictionRow.at >= since, PredictionRow.at <= until)
        .group_by(PredictionRow.version, bucket)
        .order_by(bucket)
    )
    return [
        Point(
            line=str(row.version),
            bucket=row.bucket,
            at=start + row.bucket * width,
            value=float(row.num),
            num_samples=row.num,
        )
        for row in session.execute(statement)
    ]


def latencies(
    session: Session, *, since: datetime, until: datetime, version: int | None = None, limit: int = 20_000
) -> list[tuple[datetime, Sequence[str], float]]:
    """When, with which modalities, and in how many seconds the latest of the answers in between were given."""
    statement = (
        select(PredictionRow.at, PredictionRow.modalities, PredictionRow.latency_s)
        .where(PredictionRow.at >= since, PredictionRow.at <= until, PredictionRow.latency_s.is_not(None))
        .order_by(PredictionRow.at.desc())
        .limit(limit)
    )
    if version is not None:
        statement = statement.where(PredictionRow.version == version)
    return [(at, modalities, latency_s) for at, modalities, latency_s in session.execute(statement)]


def moves(session: Session, *, since: datetime, until: datetime) -> list[AuditEntry]:
    """The latest changes of what is in service between two moments, oldest first."""
    statement = rows_of(AuditRow).where(AuditRow.subject == "release", AuditRow.to_state.in_(MOVES))
    chosen = statement.where(AuditRow.at >= since, AuditRow.at <= until).order_by(AuditRow.id.desc())
    return fetch_all(session, AuditEntry, chosen.limit(MOST_MARKS))[::-1]


def alerts(session: Session, *, since: datetime, until: datetime) -> list[Alert]:
    """The latest alerts that began between two moments, oldest first."""
    chosen = rows_of(AlertRow).where(AlertRow.started_at >= since, AlertRow.started_at <= until)
    return fetch_all(session, Alert, chosen.order_by(AlertRow.started_at.desc()).limit(MOST_MARKS))[::-1]
