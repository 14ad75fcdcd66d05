"""Replaying: rules over the measurements that were recorded, without moving or telling anything."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db.records import Measurement
from db.repository import measurements
from flows.steps.judging import kind_of, policy_of, reading_of
from flows.steps.known import baseline_in_force
from flows.workspace import Workspace
from monitoring.alerting.backtest import Backtest, backtest
from monitoring.alerting.evaluating import Reading
from monitoring.alerting.rule import Rule, RuleSet
from monitoring.measures.window import OF_FEEDBACK, OF_LOG

MANY = 200_000
"""Measurements of a metric that are replayed: the latest."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A rule on one slice of the record."""

    rule: Rule
    slice: str
    result: Backtest
    windows_s: tuple[float, ...] = ()
    """Windows that were recorded where that of the rule was not: the nearest of them was taken."""


def replay_rules(ws: Workspace, rules: RuleSet, *, since: datetime) -> list[Replayed]:
    """Each rule on each slice that was recorded since then, held to the baseline that is in force now."""
    with ws.database.read() as session:
        known = baseline_in_force(session)
        rows = {
            metric: measurements.series(session, metric, since=since, limit=MANY)
            for metric in {rule.metric for rule in rules.rules}
        }
    found = []
    for rule in rules.rules:
        usable, other = _of_window(rule, rows[rule.metric])
        by_slice: dict[str, list[tuple[datetime, Reading]]] = {}
        for row in usable:
            if kind_of(row.slice) == rule.by:
                by_slice.setdefault(row.slice, []).append((row.at, reading_of(row)))
        for slice_, record in sorted(by_slice.items()):
            result = backtest(rule, record, known.reading(rule.metric, slice_), policy_of(ws, rule))
            found.append(Replayed(rule=rule, slice=slice_, result=result, windows_s=other))
    return found


def since_of(ws: Workspace, duration_s: float) -> datetime:
    """The moment that long ago."""
    return ws.clock() - timedelta(seconds=duration_s)


def _of_window(rule: Rule, rows: list[Measurement]) -> tuple[list[Measurement], tuple[float, ...]]:
    """The rows of the rule's window; if none was recorded, those of the nearest window, which is told."""
    if rule.metric not in (*OF_LOG, *OF_FEEDBACK):
        return rows, ()
    windows = sorted({float(row.detail["window_s"]) for row in rows if "window_s" in row.detail})
    if not windows:
        return [], ()
    nearest = min(windows, key=lambda window_s: abs(window_s - rule.window_s))
    told = () if nearest == rule.window_s else (nearest,)
    return [row for row in rows if row.detail.get("window_s") == nearest], told
