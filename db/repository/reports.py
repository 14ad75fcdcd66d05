"""The index of drift and quality reports. The snapshots lie in the blob store."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import ReportRow
from db.records import NewReport, Report
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write


def add(session: Session, report: NewReport, *, now: datetime) -> Report:
    """Note a report whose snapshot is stored; one of the same key that is there already is returned instead."""
    values = {**asdict(report), "numbers": dict(report.numbers)}
    write(session, insert_into(session, ReportRow).values(created_at=now, **values).on_conflict_do_nothing())
    found = fetch_one(session, Report, rows_of(ReportRow).where(ReportRow.key == report.key))
    assert found is not None
    return found


def find(session: Session, key: str) -> Report | None:
    """The report of a key, or None."""
    return fetch_one(session, Report, rows_of(ReportRow).where(ReportRow.key == key))


def get(session: Session, report_id: int) -> Report:
    """A report by its number; raises `NotFound`."""
    report = fetch_one(session, Report, rows_of(ReportRow).where(ReportRow.id == report_id))
    if report is None:
        raise NotFound(f"There is no report {report_id}. `omniloop reports list` shows them.")
    return report


def list_reports(
    session: Session, *, version: int | None = None, round_id: int | None = None, limit: int = 100
) -> list[Report]:
    """Reports, the latest first; of one version, of one round."""
    statement = rows_of(ReportRow).order_by(ReportRow.id.desc()).limit(limit)
    if version is not None:
        statement = statement.where(ReportRow.version == version)
    if round_id is not None:
        statement = statement.where(ReportRow.round_id == round_id)
    return fetch_all(session, Report, statement)
