"""All versions as a timeline, the newest first: what each was made of, what became of it, when, why and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from dashboards.asked import MaybeRow
from dashboards.pages import Page
from dashboards.site import Visit
from db.records import AuditEntry, Release, Serving, Trial
from db.releases import STATES, State
from db.repository import audit, trials, versions

PER_PAGE = 40


class Filter(BaseModel):
    """Which versions to show."""

    state: State | None = None
    before: MaybeRow = None
    """Only versions below this one: the next page."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A version on the timeline."""

    release: Release
    accuracy: float | None
    """At validation."""
    moves: list[AuditEntry]
    """Who sent it where, the latest first."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A page of it."""

    lines: list[Line]
    serving: Serving
    trial: Trial | None
    asked: Filter
    counts: Mapping[str, int]
    """Versions in each state, in the order in which a version goes through them."""
    num_versions: int
    next_before: int | None
    """`before` of the next page; None on the last."""


def timeline(visit: Visit, asked: Filter) -> Timeline:
    """The newest versions that fit, with their moves: six queries, however many there are."""
    session = visit.session
    found = versions.page(session, state=asked.state, before=asked.before, limit=PER_PAGE + 1)
    shown = found[:PER_PAGE]
    moves: dict[int, list[AuditEntry]] = {}
    for entry in audit.moves_of(session, [release.version for release in shown]):
        moves.setdefault(entry.version or 0, []).insert(0, entry)
    counts = versions.count_by_state(session)
    return Timeline(
        lines=[
            Line(
                release=release,
                accuracy=release.metrics.get("accuracy"),
                moves=moves.get(release.version, []),
            )
            for release in shown
        ],
        serving=versions.serving(session),
        trial=trials.running(session),
        asked=asked,
        counts={state: counts[state] for state in STATES if state in counts},
        num_versions=sum(counts.values()),
        next_before=shown[-1].version if len(found) > PER_PAGE else None,
    )


PARTS = (
    Page(
        path="/versions",
        title="Versions",
        template="versions.html",
        build=timeline,
        asks=Filter,
        topics=("versions",),
    ),
)
