"""Where rules stand: one row a fingerprint, replaced at each evaluation. A restart neither forgets nor repeats."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete
from sqlalchemy.orm import Session

from db.models import RuleStateRow
from db.records import RuleState
from db.repository.common import fetch_all, insert_into, rows_of, write

COLUMNS = ("rule", "labels", "state", "memory", "since", "updated_at")


def put(session: Session, state: RuleState) -> None:
    """Write down where a rule stands; what was there under its fingerprint is replaced."""
    values = {column: getattr(state, column) for column in COLUMNS}
    values |= {"labels": dict(state.labels), "memory": dict(state.memory)}
    statement = insert_into(session, RuleStateRow).values(fingerprint=state.fingerprint, **values)
    replaced = {column: statement.excluded[column] for column in COLUMNS}
    write(session, statement.on_conflict_do_update(index_elements=[RuleStateRow.fingerprint], set_=replaced))


def all_states(session: Session, *, rule: str | None = None) -> dict[str, RuleState]:
    """Every state, or those of one rule, by fingerprint."""
    statement = rows_of(RuleStateRow).order_by(RuleStateRow.fingerprint)
    if rule is not None:
        statement = statement.where(RuleStateRow.rule == rule)
    return {state.fingerprint: state for state in fetch_all(session, RuleState, statement)}


def forget(session: Session, fingerprints: Iterable[str]) -> int:
    """Drop the states of what is watched no more; returns how many there were."""
    return write(session, delete(RuleStateRow).where(RuleStateRow.fingerprint.in_(list(fingerprints))))
