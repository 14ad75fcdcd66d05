"""Numbers that were measured, and the baselines that they are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from db.models import BaselineRow, MeasurementRow
from db.records import Baseline, Measurement, NewMeasurement
from db.records.live import Json
from db.repository.common import fetch_all, fetch_one, insert_into, insert_new, rows_of, write


def add(session: Session, rows: Iterable[NewMeasurement], *, now: datetime) -> int:
    """Write numbers down; returns how many. NaN and infinity become None: measured, with no result."""
    return insert_new(
        session,
        MeasurementRow,
        (
            {
                "metric": row.metric,
                "slice": row.slice,
                "version": row.version,
                "value": row.value,
                "num_samples": row.num_samples,
                "detail": dict(row.detail),
                "at": now,
            }
            for row in rows
        ),
    )


def series(
    session: Session,
    metric: str,
    *,
    slice_: str | None = None,
    version: int | None = None,
    since: datetime | None = None,
    limit: int = 10_000,
) -> list[Measurement]:
    """The last `limit` values of a metric, oldest first; of one slice, of one version, at or after a moment."""
    statement = rows_of(MeasurementRow).where(MeasurementRow.metric == metric)
    if slice_ is not None:
        statement = statement.where(MeasurementRow.slice == slice_)
    if version is not None:
        statement = statement.where(MeasurementRow.version == version)
    if since is not None:
        statement = statement.where(MeasurementRow.at >= since)
    latest_first = statement.order_by(MeasurementRow.at.desc(), MeasurementRow.id.desc()).limit(limit)
    return fetch_all(session, Measurement, latest_first)[::-1]


def latest(session: Session, metric: str, *, slice_: str = "all", version: int | None = None) -> Measurement | None:
    """The newest value of a metric on a slice, or None."""
    found = series(session, metric, slice_=slice_, version=version, limit=1)
    return found[0] if found else None


def recent(
    session: Session, windows: Mapping[str, float | None], *, version: int | None, since: datetime, slice_: str = "all"
) -> list[Measurement]:
    """Values of several metrics on a slice since a moment, oldest first, in one query: those of the version or of none.

    `windows` maps a metric to the seconds of traffic that a value must rest on; None: any.
    """
    window = MeasurementRow.detail["window_s"].as_float()
    wanted = [
        MeasurementRow.metric == metric
        if window_s is None
        else and_(MeasurementRow.metric == metric, window == window_s)
        for metric, window_s in windows.items()
    ]
    statement = rows_of(MeasurementRow).where(
        MeasurementRow.metric.in_(list(windows)),
        MeasurementRow.slice == slice_,
        MeasurementRow.at >= since,
        or_(*wanted),
        or_(MeasurementRow.version.is_(None), MeasurementRow.version == version),
    )
    return fetch_all(session, Measurement, statement.order_by(MeasurementRow.at, MeasurementRow.id))


def forget(session: Session, moment: datetime, *, metrics: Iterable[str], limit: int) -> int:
    """Delete at most `limit` rows that were measured of these metrics before the moment; returns how many."""
    old = select(MeasurementRow.id).where(MeasurementRow.metric.in_(list(metrics)), MeasurementRow.at < moment)
    ids = list(session.scalars(old.limit(limit)))
    return write(session, delete(MeasurementRow).where(MeasurementRow.id.in_(ids))) if ids else 0


def set_baseline(session: Session, name: str, values: Json, *, now: datetime, version: int | None = None) -> Baseline:
    """Make these values what the name is compared with from now on. Earlier ones are kept."""
    statement = insert_into(session, BaselineRow)
    write(session, statement.values(name=name, version=version, values=dict(values), created_at=now))
    baseline = get_baseline(session, name)
    assert baseline is not None
    return baseline


def get_baseline(session: Session, name: str) -> Baseline | None:
    """The baseline in force under a name, or None."""
    return fetch_one(
        session, Baseline, rows_of(BaselineRow).where(BaselineRow.name == name).order_by(BaselineRow.id.desc())
    )
