"""Rules for tests, and what tests do to a watch and ask of it."""

from db.records import Alert
from db.repository import alerts, notifications
from flows.steps.judging import Judged
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace
from monitoring.alerting.rule import RuleSet
from tests.flows import live

RULES = """
routing: {group_by: [name], group_wait: 0s, group_interval: 1m, repeat_interval: 1h}
rules:
  - {name: accuracy low, metric: accuracy, bound: relative, side: lower, limit: 0.1, window: 10m, for: 1m,
     min_samples: 50, severity: critical, receivers: [log], action: round, summary: Worse., mend: Look.}
"""


def turn(ws: Workspace, rules: RuleSet | None = None) -> dict[str, Judged]:
    return {entry.rule.name: entry for entry in watch_rules(ws, rules, fetch=lambda: None)}


def open_alerts(ws: Workspace) -> list[Alert]:
    with ws.database.read() as session:
        return alerts.list_alerts(session, is_open=True)


def notices(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [entry.reason for entry in notifications.list_notifications(session)][::-1]


def feed(ws: Workspace, num: int, share: float) -> None:
    """Live answers with feedback, of which this share was right."""
    live.answer_right(ws, live.log(ws, live.usual(ws, num), at_once=True), share)
