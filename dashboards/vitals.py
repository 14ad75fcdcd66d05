"""The six measures that say how a version is: each held to its rules, as the watch holds it to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from dashboards.site import Site
from db.records import Measurement
from db.repository import measurements
from monitoring.alerting.evaluating import BREACH, NO_DATA, OK, Reading, combine, evaluate
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import Rule, RuleSet
from monitoring.alerting.rule_file import in_force
from monitoring.measures.live_catalogue import KNOWN
from monitoring.measures.window import OF_FEEDBACK, OF_LOG

BASELINE = "monitoring"
"""The name under which the watch keeps what it compares with."""
SHOWN = timedelta(hours=3)
"""How far back a line goes."""
FRESH = timedelta(minutes=10)
"""How old the newest value may be and still say how it is now."""
TITLES: Mapping[str, str] = {
    "alignment_error": "Alignment error",
    "latency_p95": "Latency (p95)",
    "modality_balance": "Modality balance",
    "instruction_following": "Instructions followed",
    "device_utilisation": "Device utilisation",
    "memory_fragmentation": "Memory fragmentation",
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound that a rule sets."""

    rule: str
    side: str
    """`upper` or `lower`."""
    bound: float | None
    """In the unit of the measure; None while there is no baseline."""
    severity: str
    status: str
    """`ok`, `breach` or `no_data`."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Vital:
    """One measure as it is now."""

    name: str
    title: str
    unit: str
    definition: str
    value: float | None
    num_samples: int
    at: datetime | None
    """When it was measured last."""
    baseline: float | None
    limits: tuple[Limit, ...]
    state: str
    """`ok`, `info`, `warning` or `critical` (the worst rule that is breached), or `no_data`."""
    why: str
    values: tuple[float | None, ...]
    """Of the last hours, oldest first."""


def rules_in_force(site: Site) -> RuleSet:
    """The rules of the file that the settings name, else those that come with the program.

    A file that cannot be read or used is a `ValueError` that says so.
    """
    path = str(site.wiring.alerting.get("rules") or "")
    try:
        return parsed(in_force(site.wiring.home, path).text)
    except OSError as error:
        raise ValueError(
            f"The rules in {path} cannot be read: {error}. Mend the path in OMNI_ALERTING__RULES."
        ) from error


@lru_cache(maxsize=4)
def parsed(text: str) -> RuleSet:
    """The rules of a text, read once."""
    return parse_rules(text)


def vitals(session: Session, rules: Sequence[Rule], *, version: int | None, now: datetime) -> list[Vital]:
    """All six, in two queries."""
    by_metric = {name: [rule for rule in rules if rule.metric == name and rule.by == "all"] for name in TITLES}
    windows = {name: _window(name, of_rules) for name, of_rules in by_metric.items()}
    found = measurements.recent(session, windows, version=version, since=now - SHOWN)
    known = measurements.get_baseline(session, BASELINE)
    baselines = {} if known is None else known.values.get("metrics", {}).get("all", {})
    return [
        vital(name, by_metric[name], [row for row in found if row.metric == name], baselines.get(name), now)
        for name in TITLES
    ]


def _window(metric: str, of_rules: Sequence[Rule]) -> float | None:
    """The window that a value must rest on; what is not measured of the log alone is measured over one window only."""
    if metric not in (*OF_LOG, *OF_FEEDBACK):
        return None
    return of_rules[0].window_s if of_rules else 900.0


def vital(
    name: str, rules: Sequence[Rule], rows: Sequence[Measurement], known: Mapping[str, Any] | None, now: datetime
) -> Vital:
    """One measure from its values, its baseline and its rules."""
    baseline = None if known is None else Reading(value=known.get("value"), spread=known.get("spread"))
    limits = tuple(_limit(rule, rows, baseline, now) for rule in rules)
    last = rows[-1] if rows and now - rows[-1].at <= FRESH and rows[-1].value is not None else None
    state, why = _state(limits, is_fresh=last is not None)
    return Vital(
        name=name,
        title=TITLES[name],
        unit=KNOWN[name].unit,
        definition=KNOWN[name].definition,
        value=None if last is None else last.value,
        num_samples=0 if last is None else last.num_samples,
        at=rows[-1].at if rows else None,
        baseline=None if baseline is None else baseline.value,
        limits=limits,
        state=state,
        why=why,
        values=tuple(row.value for row in rows),
    )


def _limit(rule: Rule, rows: Sequence[Measurement], baseline: Reading | None, now: datetime) -> Limit:
    span = max(FRESH, timedelta(seconds=0 if rule.over == "window" else rule.window_s))
    readings = [
        Reading(value=row.value, num_samples=row.num_samples, spread=row.detail.get("spread"))
        for row in rows
        if now - row.at <= span
    ]
    found = evaluate(rule, combine(readings, rule.over), baseline)
    return Limit(
        rule=rule.name,
        side=rule.bound.side,
        bound=rule.bound.at(None if baseline is None else baseline.value),
        severity=rule.severity,
        status=found.status,
        why=found.why,
    )


def _state(limits: Sequence[Limit], *, is_fresh: bool) -> tuple[str, str]:
    for severity in ("critical", "warning", "info"):
        for limit in limits:
            if (limit.status, limit.severity) == (BREACH, severity):
                return severity, limit.why
    held = [limit for limit in limits if limit.status == OK]
    if held and is_fresh:
        return "ok", held[0].why
    missing = [limit.why for limit in limits if limit.status == NO_DATA]
    return "no_data", missing[0] if missing else "No rule holds it to a limit." if is_fresh else "Nothing was measured."
