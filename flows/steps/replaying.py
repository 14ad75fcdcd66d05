"""Replaying: rules over the measurements that were recorded, without moving or telling anything."""

from datetime import datetime, timedelta

from db.repository import measurements
from flows.steps.known import baseline_in_force
from flows.workspace import Workspace
from monitoring.alerting.replay import Replayed, replay
from monitoring.alerting.rule import RuleSet

MANY = 200_000
"""Measurements of a metric that are replayed: the latest."""


def replay_rules(ws: Workspace, rules: RuleSet, *, since: datetime) -> list[Replayed]:
    """Each rule on each slice that was recorded since then, held to the baseline that is in force now."""
    with ws.database.read() as session:
        known = baseline_in_force(session)
        rows = {
            metric: measurements.series(session, metric, since=since, limit=MANY)
            for metric in {rule.metric for rule in rules.rules}
        }
    return replay(rules.rules, rows, known.reading, ws.settings.alerting)


def since_of(ws: Workspace, duration_s: float) -> datetime:
    """The moment that long ago."""
    return ws.clock() - timedelta(seconds=duration_s)
