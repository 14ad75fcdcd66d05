"""What an alert that begins to fire asks for, left as a row: a round, or that a version on probation is taken back.

Nothing is done here but the asking. Whoever answers looks again whether it still makes sense.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from db.records import Serving
from db.repository import outbox, rounds, triggers, versions
from flows.steps.requesting import check_trigger
from monitoring.alerting.evaluating import Evaluation
from monitoring.alerting.rule import Rule
from monitoring.measures.window import OF_FEEDBACK

ROLLBACK = "rollback"
"""Kind of the message that asks for a rollback."""


def act(session: Session, rule: Rule, found: Evaluation, serving: Serving, now: datetime) -> str:
    """Leave what the rule asks for; returns the kind of request, or nothing if there is none to leave."""
    if rule.action == "round":
        return ask_for_round(session, rule, found, serving, now)
    if rule.action == "rollback":
        return ask_for_rollback(session, rule, found, now)
    return ""


def ask_for_round(session: Session, rule: Rule, found: Evaluation, serving: Serving, now: datetime) -> str:
    """Request a round, unless one is open or a request of this kind waits."""
    kind = "performance" if rule.metric in OF_FEEDBACK else "drift"
    check_trigger(kind, "drift", "performance")
    if rounds.resume_target(session) is not None or any(kind == entry.kind for entry in triggers.pending(session)):
        return ""
    detail = {"why": f"{rule.name}: {found.why}", "rule": rule.name, "version": serving.version}
    triggers.request(session, kind, detail=detail, now=now)
    return kind


def ask_for_rollback(session: Session, rule: Rule, found: Evaluation, now: datetime) -> str:
    """Ask that the version on probation is taken back, once per version and rule; nothing if none is on probation."""
    release = versions.on_probation(session)
    if release is None:
        return ""
    payload = {"version": release.version, "why": f"{rule.name}: {found.why}", "rule": rule.name}
    key = f"{ROLLBACK}:v{release.version}:{rule.name}"
    return ROLLBACK if outbox.put(session, kind=ROLLBACK, key=key, payload=payload, now=now) else ""
