"""Evidently's drift and quality reports: the list, and each one's page in a frame that reaches nothing outside."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from starlette.responses import FileResponse, Response

from dashboards.asked import MaybeRow, RowNumber
from dashboards.pages import File, Page
from dashboards.problems import Problem
from dashboards.site import Visit
from db.errors import BlobMissing
from db.records import Report
from db.repository import reports

POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
"""A report is a page of somebody else's: it may run its own script in a frame without our origin, and fetch nothing."""
MOST_KEPT = 20
"""Pages of reports kept on disk, about 4 MB each."""
_making = threading.Lock()
"""Evidently takes seconds and much memory: one page at a time."""


class Asked(BaseModel):
    """Which reports."""

    version: MaybeRow = None


class One(BaseModel):
    """Which report."""

    id: RowNumber


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The list."""

    reports: list[Report]
    drifted: dict[int, float | None]
    """Number of columns that drifted, by report; None where it does not say."""
    asked: Asked


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """One report."""

    report: Report
    drifted: float | None
    left_out: list[str]


def overview(visit: Visit, asked: Asked) -> Reports:
    """The latest hundred."""
    found = reports.list_reports(visit.session, version=asked.version)
    return Reports(reports=found, drifted={report.id: drifted(report) for report in found}, asked=asked)


def one(visit: Visit, asked: One) -> ReportPage:
    """What is known of a report; its page comes by itself."""
    report = reports.get(visit.session, asked.id)
    left_out = [str(name) for name in report.numbers.get("left_out", ())]
    return ReportPage(report=report, drifted=drifted(report), left_out=left_out)


def drifted(report: Report) -> float | None:
    """How many columns drifted, as the report counted them."""
    found = next((value for name, value in report.numbers.items() if name.startswith("DriftedColumns")), None)
    return float(found) if isinstance(found, int | float) else None


def page(visit: Visit, asked: One) -> Response:
    """The report as Evidently shows it; made once, then kept for a while."""
    report = reports.get(visit.session, asked.id)
    place = visit.site.wiring.home / "cache" / "reports" / f"{Path(report.digest).name}.html"
    if not place.exists():
        with _making:
            if not place.exists():
                _make(visit, report, place)
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": "private, max-age=3600",
    }
    return FileResponse(place, media_type="text/html; charset=utf-8", headers=headers)


def _make(visit: Visit, report: Report, place: Path) -> None:
    from monitoring.reports import page as html_of

    try:
        snapshot = visit.site.blobs.get(report.digest).decode()
    except BlobMissing as error:
        raise Problem(404, f"The snapshot of report {report.id} is not in the blob store any more.") from error
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".tmp")
    partial.write_text(html_of(snapshot), encoding="utf-8")
    partial.replace(place)
    kept = sorted(place.parent.glob("*.html"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in kept[MOST_KEPT:]:
        old.unlink(missing_ok=True)


PARTS = (
    Page(path="/reports", title="Reports", template="reports.html", build=overview, asks=Asked, entry="/monitoring"),
    Page(path="/reports/{id:int}", title="Report", template="report.html", build=one, asks=One, entry="/monitoring"),
    File(path="/reports/{id:int}/page", fetch=page, asks=One),
)
