"""Is it well: six measures held to their rules as the watch holds them, and one sentence about it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from monitoring.alerting.evaluating import BREACH, NO_DATA, OK, Reading, combine, evaluate
from monitoring.alerting.rule import Rule
from monitoring.measures.live_catalogue import KNOWN
from monitoring.measures.window import OF_FEEDBACK, OF_LOG

BASELINE = "monitoring"
"""The name under which the watch keeps what it compares with."""
SHOWN = timedelta(hours=3)
"""How far back a line goes."""
FRESH = timedelta(minutes=10)
"""How old the newest value may be and still say how it is now."""
QUIET = timedelta(minutes=10)
"""Without a measurement for so long, it is not known how it is."""
TITLES: Mapping[str, str] = {
    "alignment_error": "Alignment error",
    "latency_p95": "Latency (p95)",
    "modality_balance": "Modality balance",
    "instruction_following": "Instructions followed",
    "device_utilisation": "Device utilisation",
    "memory_fragmentation": "Memory fragmentation",
}


class Measured(Protocol):
    """A value as it was written down."""

    @property
    def at(self) -> datetime: ...
    @property
    def value(self) -> float | None: ...
    @property
    def num_samples(self) -> int: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...


class Told(Protocol):
    """An alert."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def summary(self) -> str: ...


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


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to: is it well?"""

    state: str
    """`good`, `look`, `bad` or `unknown`."""
    words: str
    reasons: tuple[str, ...]


def windows_of(rules: Sequence[Rule]) -> dict[str, float | None]:
    """By measure the window in seconds that a value must rest on, as its first rule says.

    None for what is not measured of the log: that is measured over one window only.
    """
    return {name: _window(name, held_to(rules, name)) for name in TITLES}


def held_to(rules: Sequence[Rule], metric: str) -> list[Rule]:
    """The rules about a measure as a whole."""
    return [rule for rule in rules if rule.metric == metric and rule.by == "all"]


def _window(metric: str, of_rules: Sequence[Rule]) -> float | None:
    """The window that a value must rest on; what is not measured of the log alone is measured over one window only."""
    if metric not in (*OF_LOG, *OF_FEEDBACK):
        return None
    return of_rules[0].window_s if of_rules else 900.0


def vital(
    name: str, rules: Sequence[Rule], rows: Sequence[Measured], known: Mapping[str, Any] | None, now: datetime
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


def _limit(rule: Rule, rows: Sequence[Measured], baseline: Reading | None, now: datetime) -> Limit:
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


def judged(
    state: str | None, signs: Sequence[Vital], open_alerts: Sequence[Told], fault: str, now: datetime
) -> Verdict:
    """One sentence, the worst first; what is not known is not called well.

    `state` is that of the version in service, None if there is none; `fault` says why rules could not be read.
    """
    firing = [alert for alert in open_alerts if alert.state == "firing" and alert.severity != "info"]
    critical = [alert for alert in firing if alert.severity == "critical"]
    reasons = tuple(f"{alert.name}: {alert.summary}" for alert in firing[:3])
    if critical:
        return Verdict(state="bad", words="Not well", reasons=reasons)
    if state is None:
        return Verdict(state="unknown", words="No version is in service", reasons=("Approve or train a first one.",))
    if firing:
        return Verdict(state="look", words="Something needs a look", reasons=reasons)
    if fault:
        return Verdict(state="unknown", words="It is not known whether it is well", reasons=(fault,))
    last = max((sign.at for sign in signs if sign.at is not None), default=None)
    if last is None or now - last > QUIET:
        why = "Nothing was measured in the last ten minutes. `omniloop up` measures every minute."
        return Verdict(state="unknown", words="It is not known whether it is well", reasons=(why,))
    if state == "probation":
        return Verdict(state="good", words="Well so far, on probation", reasons=())
    unsure = [sign.title.lower() for sign in signs if sign.state == "no_data"]
    told = (f"Not enough data on {', '.join(unsure)}.",) if unsure else ()
    return Verdict(state="good", words="All is well" if not unsure else "Well, as far as it is known", reasons=told)
