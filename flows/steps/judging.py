"""Judging: the rules are held to what was measured, and every alert is moved on, in one transaction with its notices.

Of two who judge at once one waits for the other, finds what it left, and tells nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from db.records import Measurement, RuleState, Serving
from db.repository import alerts, measurements, rule_states, versions
from db.repository.common import hold_the_loop
from flows.pages import known_address
from flows.steps.acting import act
from flows.steps.known import Known, baseline_in_force
from flows.steps.telling import tell
from flows.workspace import Workspace
from monitoring.alerting.evaluating import Evaluation, Reading, combine, evaluate
from monitoring.alerting.grouping import fingerprint, group_key
from monitoring.alerting.machine import EXPIRED, FIRED, FIRING, RESOLVED, AlertState, Policy, fresh, step
from monitoring.alerting.replay import policy_of
from monitoring.alerting.rule import Rule, RuleSet
from monitoring.measures.window import OF_FEEDBACK, OF_LOG

FRESH_TURNS = 3.0
"""A value that is measured at every turn of the rules counts for so many of them: three minutes by default."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Where a rule stands on a slice after an evaluation."""

    rule: Rule
    labels: dict[str, str]
    fingerprint: str
    evaluation: Evaluation
    state: AlertState


def judge_rules(ws: Workspace, rules: RuleSet) -> list[Judged]:
    """Evaluate every rule on every slice that it has, move the alerts, leave notices and requests for action."""
    with ws.database.write() as session:
        hold_the_loop(session)
        now = ws.clock()
        serving, known = versions.serving(session), baseline_in_force(session)
        before = rule_states.all_states(session)
        fresh_s = FRESH_TURNS * ws.settings.pulse.rules_s
        judged = [
            _judge(ws, rule, labels, found, known, before, now)
            for rule in rules.rules
            for labels, found in readings(session, rule, serving.version, before, now, fresh_s=fresh_s)
        ]
        for entry in judged:
            _keep(session, rules, entry, serving, now)
            if entry.state.event == FIRED:
                act(session, entry.rule, entry.evaluation, serving, now)
        _end_strangers(session, judged, before, now)
        tell(session, rules, ws.settings.notify.names, now, base=known_address(ws.settings))
    return judged


def readings(
    session: Session,
    rule: Rule,
    version: int | None,
    before: dict[str, RuleState],
    now: datetime,
    *,
    fresh_s: float,
) -> list[tuple[dict[str, str], Reading | None]]:
    """The value that a rule is held to, by slice: those that were measured, and those that it stood on before."""
    of_version = rule.metric in (*OF_LOG, *OF_FEEDBACK)
    if of_version and version is None:
        return [({}, None)] if rule.by == "all" else []
    span_s = fresh_s if of_version else max(rule.window_s, fresh_s)
    rows = measurements.series(
        session, rule.metric, version=version if of_version else None, since=now - timedelta(seconds=span_s)
    )
    rows = [row for row in rows if row.at <= now and (not of_version or row.detail.get("window_s") == rule.window_s)]
    rows = [row for row in rows if row.version in (None, version)]
    names = {row.slice for row in rows if kind_of(row.slice) == rule.by}
    names |= {slice_of(state.labels) for state in before.values() if state.rule == rule.name}
    names |= {"all"} if rule.by == "all" else set()
    return [
        (labels_of(name), combine([reading_of(row) for row in rows if row.slice == name], rule.over))
        for name in sorted(names)
        if kind_of(name) == rule.by
    ]


def reading_of(row: Measurement) -> Reading:
    """A measurement as rules take it."""
    return Reading(value=row.value, num_samples=row.num_samples, spread=row.detail.get("spread"))


def kind_of(slice_: str) -> str:
    """`all`, or what a slice is by.

    >>> kind_of("domain=ru"), kind_of("all")
    ('domain', 'all')
    """
    return slice_.partition("=")[0]


def labels_of(slice_: str) -> dict[str, str]:
    """A slice as labels.

    >>> labels_of("domain=ru"), labels_of("all")
    ({'domain': 'ru'}, {})
    """
    kind, _, name = slice_.partition("=")
    return {kind: name} if slice_ != "all" else {}


def slice_of(labels: Any) -> str:
    """The inverse of `labels_of`."""
    return next((f"{kind}={name}" for kind, name in labels.items()), "all")


def _judge(
    ws: Workspace,
    rule: Rule,
    labels: dict[str, str],
    found: Reading | None,
    known: Known,
    before: dict[str, RuleState],
    now: datetime,
) -> Judged:
    id_ = fingerprint(rule.name, labels)
    stored = before.get(id_)
    state = fresh(now) if stored is None else AlertState.from_json(stored.memory)
    baseline = known.reading(rule.metric, slice_of(labels))
    evaluation = evaluate(rule, found, baseline, is_breached=state.is_breached)
    moved = step(state, evaluation.status, policy_of(rule, ws.settings.alerting), now)
    return Judged(rule=rule, labels=labels, fingerprint=id_, evaluation=evaluation, state=moved)


def _keep(session: Session, rules: RuleSet, entry: Judged, serving: Serving, now: datetime) -> None:
    """Write down where the rule stands, and bring its alert up to date."""
    rule, found, state = entry.rule, entry.evaluation, entry.state
    detail = {"status": found.status, "why": found.why, "value": found.value, "bound": found.bound}
    memory = state.to_json() | {"last": detail | {"baseline": found.baseline, "num_samples": found.num_samples}}
    rule_states.put(
        session,
        RuleState(
            fingerprint=entry.fingerprint,
            rule=rule.name,
            labels=entry.labels,
            state=state.state,
            memory=memory,
            since=state.since,
            updated_at=now,
        ),
    )
    if state.state == FIRING:
        labels = {**entry.labels, "metric": rule.metric}
        said: dict[str, Any] = {} if found.value is None else {"value": found.value, "baseline": found.baseline}
        alerts.raise_alert(
            session,
            entry.fingerprint,
            name=rule.name,
            severity=rule.severity,
            summary=f"{rule.summary} {found.why}".strip(),
            labels=labels,
            detail={
                "receivers": None if rule.receivers is None else list(rule.receivers),
                "action": rule.action,
                **detail,
            },
            version=serving.version,
            page=rule.page,
            mend=rule.mend,
            group_key=group_key({**labels, "name": rule.name, "severity": rule.severity}, rules.routing.group_by),
            fired_at=state.since,
            kept_until=state.kept_until(Policy(keep_firing_s=rule.keep_firing_s)),
            now=now,
            **said,
        )
    elif state.event in (RESOLVED, EXPIRED):
        alerts.resolve(session, entry.fingerprint, now=now)


def _end_strangers(session: Session, judged: Sequence[Judged], before: dict[str, RuleState], now: datetime) -> None:
    """End the alerts of rules that are in force no more, and forget where they stood."""
    gone = sorted(before.keys() - {entry.fingerprint for entry in judged})
    for id_ in gone:
        alerts.resolve(session, id_, now=now)
    rule_states.forget(session, gone)
