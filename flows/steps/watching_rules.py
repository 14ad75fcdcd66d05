"""One turn of the watch: measure, keep the baseline, judge, act. What the pulse does every minute."""

from flows.steps.capturing import keep_baseline
from flows.steps.judging import Judged, judge_rules
from flows.steps.measuring import Fetch, measure_now
from flows.steps.obeying import obey
from flows.steps.ruling import read_rules
from flows.workspace import Workspace
from monitoring.alerting.rule import RuleSet


def watch_rules(ws: Workspace, rules: RuleSet | None = None, *, fetch: Fetch | None = None) -> list[Judged]:
    """Measure and judge once. A file of rules that is broken is an error, not an empty one."""
    rules = rules or read_rules(ws)
    measure_now(ws, rules.rules, fetch=fetch)
    try:
        keep_baseline(ws)
    finally:  # a baseline that cannot be captured is an error, and no reason to watch nothing
        judged = judge_rules(ws, rules)
        obey(ws)
    return judged
