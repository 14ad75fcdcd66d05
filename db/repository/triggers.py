"""Requests for a round. They wait while a round runs, and many of a kind count as one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import TriggerRow
from db.models.loop import WAITING
from db.records import Trigger
from db.records.loop import Json
from db.repository import audit
from db.repository.common import fetch_all, fetch_one, hold_the_loop, insert_into, rows_of, write


def request(session: Session, kind: str, *, now: datetime, detail: Json | None = None) -> Trigger:
    """Ask for a round. A request of this kind that waits already is counted up, and gets the newer detail."""
    statement = insert_into(session, TriggerRow).values(
        kind=kind, detail=dict(detail or {}), num_requests=1, requested_at=now, last_requested_at=now
    )
    write(
        session,
        statement.on_conflict_do_update(
            index_elements=[TriggerRow.kind],
            index_where=WAITING,
            set_={
                "num_requests": TriggerRow.num_requests + 1,
                "detail": statement.excluded.detail,
                "last_requested_at": statement.excluded.last_requested_at,
            },
        ),
    )
    waiting = rows_of(TriggerRow).where(TriggerRow.kind == kind, TriggerRow.taken_at.is_(None))
    trigger = fetch_one(session, Trigger, waiting)
    assert trigger is not None
    return trigger


def pending(session: Session) -> list[Trigger]:
    """The requests that wait, oldest first."""
    statement = rows_of(TriggerRow).where(TriggerRow.taken_at.is_(None)).order_by(TriggerRow.id)
    return fetch_all(session, Trigger, statement)


def take_trigger(session: Session, *, now: datetime, round_id: int | None = None) -> tuple[Trigger, ...]:
    """Take every request that waits: one round answers them all. Empty if none waits; of two takers one gets them.

    Call it in the transaction that opens the round, so that a kill loses neither.
    """
    hold_the_loop(session)
    ids = [trigger.id for trigger in pending(session)]
    write(session, update(TriggerRow).where(TriggerRow.id.in_(ids)).values(taken_at=now, round_id=round_id))
    return tuple(fetch_all(session, Trigger, rows_of(TriggerRow).where(TriggerRow.id.in_(ids)).order_by(TriggerRow.id)))


def withdraw(session: Session, trigger_id: int, *, who: str, why: str, now: datetime) -> Trigger:
    """Take a request back, with every one that it counts. `NotFound`, or `IllegalMove` if it does not wait any more."""
    hold_the_loop(session)
    found = get(session, trigger_id)
    if found.taken_at is not None:
        by = f"round {found.round_id} answers it" if found.round_id else "it was withdrawn"
        raise IllegalMove(f"Request {trigger_id} does not wait any more: {by}. There is nothing to withdraw.")
    write(session, update(TriggerRow).where(TriggerRow.id == trigger_id).values(taken_at=now))
    numbers = {"kind": found.kind, "num_requests": found.num_requests}
    audit.add(
        session,
        who=who,
        action="withdraw",
        subject="request",
        subject_id=trigger_id,
        why=why,
        numbers=numbers,
        now=now,
    )
    return get(session, trigger_id)


def get(session: Session, trigger_id: int) -> Trigger:
    """The request with this id; `NotFound` if there is none."""
    found = fetch_one(session, Trigger, rows_of(TriggerRow).where(TriggerRow.id == trigger_id))
    if found is None:
        raise NotFound(f"There is no request {trigger_id}. `omniloop rounds requests` lists those that wait.")
    return found


def list_triggers(session: Session, *, limit: int = 100) -> list[Trigger]:
    """Requests, taken or not, the latest first."""
    return fetch_all(session, Trigger, rows_of(TriggerRow).order_by(TriggerRow.id.desc()).limit(limit))


def ask(session: Session, kind: str, *, who: str, why: str, now: datetime) -> Trigger:
    """A person asks for a round. Of several who ask for the same one, each is remembered as an asker."""
    hold_the_loop(session)
    waiting = next((trigger for trigger in pending(session) if trigger.kind == kind), None)
    askers = {who} | (set() if waiting is None else askers_of(waiting.detail))
    return request(session, kind, detail={"why": why, "who": who, "askers": sorted(askers)}, now=now)


def askers_of(detail: Json) -> set[str]:
    """The people behind a request.

    >>> sorted(askers_of({"who": "ann", "askers": ["ann", "bob"]})), askers_of({"why": "drift"})
    (['ann', 'bob'], set())
    """
    people = [*detail.get("askers", ()), detail.get("who", "")]
    return {str(name) for name in people if name}


def of_round(session: Session, round_id: int) -> list[Trigger]:
    """The requests that a round took, oldest first."""
    statement = rows_of(TriggerRow).where(TriggerRow.round_id == round_id).order_by(TriggerRow.id)
    return fetch_all(session, Trigger, statement)


def asked_by(session: Session, round_id: int) -> list[str]:
    """Who asked for a round, by the requests that it took; nobody if only the clock or the watch did."""
    taken = select(TriggerRow.detail).where(TriggerRow.round_id == round_id)
    return sorted(set[str]().union(*(askers_of(detail) for detail in session.scalars(taken))))
