"""How it stands: one verdict, what is in service, the measures, and what waits for a person; the overview in data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.records import Alert, Release, Round
from db.repository import alerts, glance, measurements, rounds, versions
from flows.steps.ruling import read_rules
from flows.workspace import Workspace
from monitoring.alerting.reading import RulesError
from monitoring.vitals import BASELINE, SHOWN, TITLES, Verdict, Vital, held_to, judged, vital, windows_of


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What only a person can do."""

    approvals: list[int]
    """Versions that wait for approval."""
    num_to_label: int
    num_contested: int
    """Samples about whose answer people disagree."""
    num_requests: int
    """Requests for a round that no round has taken yet."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything that `omniloop status` tells."""

    at: datetime
    verdict: Verdict
    release: Release | None
    """The version in service."""
    num_pairs: int
    """Pairs of answers that its probation rests on; 0 outside probation."""
    num_answers: int
    """In the last hour."""
    vitals: list[Vital]
    alerts: list[Alert]
    """Open ones, firing first."""
    round: Round | None
    waits: Waits


def status(ws: Workspace) -> Status:
    """As of now, from the database alone."""
    now = ws.clock()
    try:
        rules, fault = read_rules(ws).rules, ""
    except (RulesError, OSError) as error:
        rules, fault = (), str(error)
    with ws.database.read() as session:
        serving, release = versions.in_service(session)
        seen = glance.look(session, now=now)
        rows = measurements.recent(session, windows_of(rules), version=serving.version, since=now - SHOWN)
        known = measurements.get_baseline(session, BASELINE)
        baselines = {} if known is None else known.values.get("metrics", {}).get("all", {})
        found = alerts.list_alerts(session, is_open=True, limit=50)
        open_round = rounds.resume_target(session)
        approvals = [each.version for each in versions.history(session, "awaiting_approval")]
    signs = [
        vital(name, held_to(rules, name), [row for row in rows if row.metric == name], baselines.get(name), now)
        for name in TITLES
    ]
    return Status(
        at=now,
        verdict=judged(release.state if release else None, signs, found, fault, now),
        release=release,
        num_pairs=seen.num_both + seen.num_lost + seen.num_won + seen.num_neither,
        num_answers=seen.num_last_hour,
        vitals=signs,
        alerts=sorted(found, key=lambda alert: (alert.state != "firing", alert.started_at)),
        round=open_round,
        waits=Waits(
            approvals=approvals,
            num_to_label=seen.num_to_label,
            num_contested=seen.num_contested,
            num_requests=seen.num_requests,
        ),
    )
