"""Alerts: what fires, what is about to, what was; one alert with all that is known of it; and silences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from dashboards.asked import MaybeRow, RowNumber
from dashboards.pages import File, Page
from dashboards.site import Visit
from dashboards.vitals import rules_in_force
from db.errors import NotFound
from db.records import Alert, AuditEntry, RuleState, Silence
from db.records.deliveries import Delivery
from db.repository import alerts, audit, deliveries, rule_states, silences
from monitoring.alerting.hiding import is_inhibited, is_silenced
from monitoring.alerting.rule import Inhibition
from monitoring.matchers import written
from monitoring.silence_words import labels_of

PER_PAGE = 50
MANY = 500
"""Open alerts shown at most."""
LENGTHS = ("30m", "1h", "4h", "1d", "7d")


class Asked(BaseModel):
    """Which part of the history."""

    before: MaybeRow = None


class One(BaseModel):
    """Which alert."""

    id: RowNumber


class Of(BaseModel):
    """What it is about."""

    of: str = Field(max_length=200)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An open alert and what is to be said of it."""

    alert: Alert
    word: str
    """`firing`, `acknowledged`, `silenced` or `inhibited`."""


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A silence as people write it."""

    silence: Silence
    written: str
    standing: str


@dataclass(frozen=True, kw_only=True)
class Alerts:
    """The page."""

    firing: list[Shown]
    pending: list[RuleState]
    resolved: list[Alert]
    next_before: int | None
    silences: list[Quiet]
    num_dead: int
    num_waiting: int
    lengths: tuple[str, ...]
    rules_fault: str
    asked: Asked


@dataclass(frozen=True, kw_only=True)
class AlertPage:
    """One alert."""

    alert: Alert
    word: str
    standing: str
    """What an acknowledgement must have seen."""
    link: str
    """Where to look, if it is an address that may be followed."""
    chart: str
    """Numbers of its measure, for a chart; empty if it has none."""
    told: list[Delivery]
    trail: list[AuditEntry]
    matchers: str
    """That silence it and nothing else, one a line."""
    lengths: tuple[str, ...]
    why: str
    """What the rule found at the last evaluation."""


def overview(visit: Visit, asked: Asked) -> Alerts:
    """Open alerts, what is about to be one, silences, and a page of those that have ended."""
    session, now = visit.session, visit.now
    open_ = sorted(alerts.list_alerts(session, is_open=True, limit=MANY), key=_worst_first)
    in_force = silences.in_force(session, now=now)
    inhibitions, fault = _inhibitions(visit)
    ended = alerts.list_alerts(session, is_open=False, before=asked.before, limit=PER_PAGE + 1)
    return Alerts(
        firing=[Shown(alert=alert, word=word_of(alert, open_, in_force, inhibitions)) for alert in open_],
        pending=[state for state in rule_states.all_states(session).values() if state.state == "pending"],
        resolved=ended[:PER_PAGE],
        next_before=ended[PER_PAGE - 1].id if len(ended) > PER_PAGE else None,
        silences=[
            Quiet(silence=each, written=", ".join(map(written, each.matchers)), standing=standing_of(each))
            for each in in_force
        ],
        num_dead=len(deliveries.dead(session)),
        num_waiting=deliveries.num_waiting(session),
        lengths=LENGTHS,
        rules_fault=fault,
        asked=asked,
    )


def one(visit: Visit, asked: One) -> AlertPage:
    """All that is known of an alert."""
    session = visit.session
    alert = alerts.get(session, asked.id)
    open_ = alerts.list_alerts(session, is_open=True, limit=MANY)
    word = alert.state
    if alert.resolved_at is None:
        word = word_of(alert, open_, silences.in_force(session, now=visit.now), _inhibitions(visit)[0])
    labels = labels_of(alert.name, alert.severity, {n: v for n, v in alert.labels.items() if n != "metric"})
    return AlertPage(
        alert=alert,
        word=word,
        standing=standing(alert),
        link=link_of(alert.page),
        chart=chart_of(alert),
        told=deliveries.about(session, alert),
        trail=audit.newest(session, subject="alert", subject_id=alert.id),
        matchers="\n".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "severity"),
        lengths=LENGTHS,
        why=str(alert.detail.get("why", "")),
    )


def newest_of(visit: Visit, asked: Of) -> Response:
    """The newest alert about something: where notices point to, which are written before the alert has a number."""
    found = alerts.latest(visit.session, [asked.of]).get(asked.of)
    if found is None:
        raise NotFound(f"There was never an alert about {asked.of[:80]!r}. The alerts page lists all.")
    return RedirectResponse(f"/alerts/{found.id}", status_code=303)


def word_of(alert: Alert, open_: Sequence[Alert], in_force: Sequence[Silence], rules: Sequence[Inhibition]) -> str:
    """What is to be said of an open alert; as notices take it."""
    own = labels_of(alert.name, alert.severity, alert.labels)
    if is_silenced(own, [silence.matchers for silence in in_force]):
        return "silenced"
    others = [labels_of(other.name, other.severity, other.labels) for other in open_ if other.id != alert.id]
    if rules and is_inhibited(own, others, rules):
        return "inhibited"
    return "acknowledged" if alert.acknowledged_at else alert.state


def standing(alert: Alert) -> str:
    """An alert in words that change when somebody takes it on or it ends."""
    return f"{alert.state}, looked after by {alert.acknowledged_by or 'nobody'}"


def standing_of(silence: Silence) -> str:
    """A silence in words that change when it is ended."""
    return f"silence {silence.id} in force" if silence.ended_at is None else f"silence {silence.id} ended"


def link_of(page: str | None) -> str:
    """An address that may be followed: of the web or of ours; empty for anything else, such as a command.

    >>> link_of("/monitoring"), link_of("javascript:alert(1)"), link_of("//evil.example"), link_of("omniloop x")
    ('/monitoring', '', '', '')
    """
    text = page or ""
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_ours or text.startswith(("http://", "https://")) else ""


def chart_of(alert: Alert) -> str:
    """Where the numbers of the alert's measure are, on its slice."""
    metric = str(alert.labels.get("metric", ""))
    if not metric.replace("_", "").isalnum():
        return ""
    by = next((kind for kind in ("domain", "task", "modalities", "modality", "pair") if kind in alert.labels), "all")
    return "/monitoring/series.json?" + urlencode({"metric": metric, "by": by, "only": alert.labels.get(by, "")})


def _inhibitions(visit: Visit) -> tuple[Sequence[Inhibition], str]:
    try:
        return rules_in_force(visit.site).inhibitions, ""
    except ValueError as error:
        return (), str(error)


def _worst_first(alert: Alert) -> tuple[Any, ...]:
    order = ("critical", "error", "warning", "info")
    return order.index(alert.severity) if alert.severity in order else len(order), -alert.id


LIVE = ("alerts", "audit")
PARTS = (
    Page(path="/alerts", title="Alerts", template="alerts.html", build=overview, asks=Asked, topics=LIVE),
    File(path="/alerts/newest", fetch=newest_of, asks=Of),
    Page(path="/alerts/{id:int}", title="Alert", template="alert.html", build=one, asks=One, topics=LIVE),
)
