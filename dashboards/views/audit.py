"""Who did what, when and why: the trail that nobody can edit, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from dashboards.asked import MaybeRow
from dashboards.pages import Page
from dashboards.site import Visit
from db.records import AuditEntry
from db.repository import audit

PER_PAGE = 100


class Filter(BaseModel):
    """Which lines to show."""

    who: str = ""
    subject: str = ""
    version: MaybeRow = None
    before: MaybeRow = None
    """Only lines with smaller ids: the next page."""


@dataclass(frozen=True, kw_only=True)
class Trail:
    """A page of the trail."""

    entries: list[AuditEntry]
    asked: Filter
    subjects: list[str]
    next_before: int | None
    """`before` of the next page; None on the last."""


def trail(visit: Visit, asked: Filter) -> Trail:
    """The newest lines that fit."""
    found = audit.newest(
        visit.session,
        who=asked.who or None,
        subject=asked.subject or None,
        version=asked.version,
        before=asked.before,
        limit=PER_PAGE + 1,
    )
    more = len(found) > PER_PAGE
    shown = found[:PER_PAGE]
    return Trail(
        entries=shown,
        asked=asked,
        subjects=audit.subjects(visit.session),
        next_before=shown[-1].id if more else None,
    )


PARTS = (Page(path="/audit", title="Audit trail", template="audit.html", build=trail, asks=Filter, topics=("audit",)),)
