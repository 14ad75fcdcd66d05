"""Rounds: opened once per key, one at a time, advanced step by step, resumed after a kill, quarantined when blamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, or_, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import ReleaseRow, RoundRow, RoundSampleRow, RoundStepRow
from db.records import Round, RoundSample, RoundStep
from db.records.loop import Json
from db.repository import audit
from db.repository.common import fetch_all, hold_the_loop, insert_into, insert_new, rows_of, write
from db.repository.labels import set_quarantine
from db.rounds import STEPS, Role, Step, is_forward


def open_round(
    session: Session,
    *,
    key: str,
    trigger: str,
    base_version: int | None,
    config: Json,
    snapshot: str,
    now: datetime,
) -> tuple[Round, bool]:
    """Open a round; returns it and whether it was created.

    A round of this key is returned as it is, open or closed: the same work is not done twice. If another round is open,
    that one is returned, not created: compare its `key`, and leave a request (`triggers.request`) for later.
    `IllegalMove` if `base_version` is not accepted: a round starts from the last accepted version, no other.
    """
    hold_the_loop(session)
    known = find_round(session, key) or resume_target(session)
    if known is not None:
        return known, False
    _check_base(session, base_version)
    write(
        session,
        insert_into(session, RoundRow).values(
            key=key,
            trigger=trigger,
            base_version=base_version,
            snapshot=snapshot,
            config=dict(config),
            step="opened",
            is_open=True,
            opened_at=now,
            updated_at=now,
        ),
    )
    created = find_round(session, key)
    assert created is not None
    _note_step(session, created.id, "opened", {}, now)
    return get_round(session, created.id), True


def advance(session: Session, round_id: int, step: Step, outputs: Json, *, now: datetime) -> Round:
    """A step is done, and reported these outputs. Steps go forward only (`IllegalMove`); they may be skipped.

    Repeating the last step changes nothing. Only `close` makes a round `closed`.
    """
    if step not in STEPS or step == "closed":
        raise ValueError(f"A round advances to one of {', '.join(STEPS[1:-1])}, got {step!r}. Use close() to end it.")
    hold_the_loop(session)
    round_ = get_round(session, round_id)
    if round_.is_open and round_.step == step:
        return round_
    if not round_.is_open or not is_forward(round_.step, step):
        raise IllegalMove(f"Round {round_id} is {round_.step} and cannot become {step}. Steps only go forward.")
    _note_step(session, round_id, step, outputs, now)
    _set(session, round_id, step=step, updated_at=now)
    return get_round(session, round_id)


def close(session: Session, round_id: int, outcome: str, *, now: datetime) -> Round:
    """End a round. Closing it again with the same outcome changes nothing; with another it is an `IllegalMove`."""
    hold_the_loop(session)
    round_ = get_round(session, round_id)
    if not round_.is_open:
        if round_.outcome != outcome:
            raise IllegalMove(f"Round {round_id} was closed as {round_.outcome} and cannot become {outcome}.")
        return round_
    _note_step(session, round_id, "closed", {"outcome": outcome}, now)
    _set(session, round_id, step="closed", outcome=outcome, is_open=False, closed_at=now, updated_at=now)
    return get_round(session, round_id)


def set_evidence(session: Session, round_id: int, digest: str, *, now: datetime) -> Round:
    """Where the evidence behind the decision lies in the blob store."""
    _set(session, round_id, evidence=digest, updated_at=now)
    return get_round(session, round_id)


def quarantine(session: Session, round_id: int, *, who: str, reason: str, now: datetime) -> Round:
    """Set a round and the labels that it asked for aside. Once is enough: a second call changes nothing."""
    hold_the_loop(session)
    if get_round(session, round_id).quarantined_at is None:
        blame(session, round_id, reason=reason, now=now)
        audit.add(session, who=who, action="quarantine", subject="round", subject_id=round_id, why=reason, now=now)
    return get_round(session, round_id)


def lift_quarantine(session: Session, round_id: int, *, who: str, why: str, now: datetime) -> Round:
    """A person found the data of a round to be good: its labels count again. `IllegalMove` without a quarantine."""
    hold_the_loop(session)
    if get_round(session, round_id).quarantined_at is None:
        raise IllegalMove(f"Round {round_id} is not in quarantine. There is nothing to lift.")
    num_labels = set_quarantine(session, round_id, None)
    _set(session, round_id, quarantined_at=None, quarantine_reason=None, updated_at=now)
    numbers = {"num_labels": num_labels}
    audit.add(
        session,
        who=who,
        action="lift_quarantine",
        subject="round",
        subject_id=round_id,
        why=why,
        numbers=numbers,
        now=now,
    )
    return get_round(session, round_id)


def blame(session: Session, round_id: int, *, reason: str, now: datetime) -> int:
    """Quarantine without a line in the audit trail, for a move that writes its own. Returns the number of labels."""
    _set(session, round_id, quarantined_at=now, quarantine_reason=reason, updated_at=now)
    return set_quarantine(session, round_id, now)


def resume_target(session: Session) -> Round | None:
    """The round that is open, if one is: it runs now, or was killed and waits to go on after its last step."""
    return _first(session, rows_of(RoundRow).where(RoundRow.is_open))


def find_round(session: Session, key: str) -> Round | None:
    """The round of this idempotency key."""
    return _first(session, rows_of(RoundRow).where(RoundRow.key == key))


def get_round(session: Session, round_id: int) -> Round:
    """The round with this id; `NotFound` if there is none."""
    found = _first(session, rows_of(RoundRow).where(RoundRow.id == round_id))
    if found is None:
        raise NotFound(f"There is no round {round_id}. List them with list_rounds().")
    return found


def list_rounds(session: Session, *, before: int | None = None, limit: int = 100) -> list[Round]:
    """Rounds, the latest first; only those with smaller ids than `before`."""
    statement = rows_of(RoundRow) if before is None else rows_of(RoundRow).where(RoundRow.id < before)
    return _records(session, statement.order_by(RoundRow.id.desc()).limit(limit))


def with_evidence(session: Session, versions: Sequence[int], *, limit: int = 8) -> list[Round]:
    """Rounds whose evidence says what one of these versions answered: first those that made them, then those that made
    others of them, the latest first.
    """
    own = ReleaseRow.version.in_(list(versions))
    statement = rows_of(RoundRow).join(ReleaseRow, ReleaseRow.round_id == RoundRow.id)
    statement = statement.where(RoundRow.evidence.is_not(None), or_(own, ReleaseRow.parent_version.in_(list(versions))))
    return _records(session, statement.order_by(case((own, 0), else_=1), RoundRow.id.desc()).limit(limit))


def steps_of(session: Session, round_id: int) -> list[RoundStep]:
    """The steps that a round has done, in order, with their times and outputs."""
    steps = fetch_all(session, RoundStep, rows_of(RoundStepRow).where(RoundStepRow.round_id == round_id))
    return sorted(steps, key=lambda step: STEPS.index(step.step))


def add_round_samples(session: Session, round_id: int, rows: Iterable[RoundSample]) -> int:
    """Make samples members of a round; returns how many were not already. Keep every sample that it trains on here:
    deleting a sample then tells which versions have seen it.
    """
    return insert_new(
        session,
        RoundSampleRow,
        (
            {
                "round_id": round_id,
                "sample_id": row.sample_id,
                "role": row.role,
                "score": row.score,
                "rank": row.rank,
                "detail": None if row.detail is None else dict(row.detail),
            }
            for row in rows
        ),
    )


def round_samples(session: Session, round_id: int, *roles: Role) -> list[RoundSample]:
    """The members of a round in these roles (all for none given), by rank and then id."""
    table = RoundSampleRow
    columns = (table.sample_id, table.role, table.score, table.rank, table.detail)
    statement = select(*columns).where(table.round_id == round_id)
    if roles:
        statement = statement.where(table.role.in_(roles))
    members = fetch_all(session, RoundSample, statement)
    return sorted(members, key=lambda row: (row.rank is None, row.rank or 0, row.sample_id))


def count_round_samples(session: Session, round_id: int) -> dict[str, int]:
    """How many members a round has per role."""
    statement = select(RoundSampleRow.role, func.count()).where(RoundSampleRow.round_id == round_id)
    return {role: num for role, num in session.execute(statement.group_by(RoundSampleRow.role))}


def _check_base(session: Session, base_version: int | None) -> None:
    if base_version is None:
        return
    state = session.scalars(select(ReleaseRow.state).where(ReleaseRow.version == base_version)).first()
    if state is None:
        raise NotFound(f"There is no version {base_version} to start from. Start from the last accepted one.")
    if state != "accepted":
        raise IllegalMove(f"Version {base_version} is {state}. A round starts from the last accepted version.")


def _note_step(session: Session, round_id: int, step: Step, outputs: Json, now: datetime) -> None:
    values: dict[str, Any] = {"round_id": round_id, "step": step, "at": now, "outputs": dict(outputs)}
    write(session, insert_into(session, RoundStepRow).values(**values))


def _set(session: Session, round_id: int, **values: Any) -> None:
    write(session, update(RoundRow).where(RoundRow.id == round_id).values(**values))


def _first(session: Session, statement: Select[Any]) -> Round | None:
    found = _records(session, statement.limit(1))
    return found[0] if found else None


def _records(session: Session, statement: Select[Any]) -> list[Round]:
    rows: Sequence[dict[str, Any]] = [dict(row) for row in session.execute(statement).mappings()]
    ids = [row["id"] for row in rows]
    outputs: dict[int, dict[Step, Json]] = {id_: {} for id_ in ids}
    for step in fetch_all(session, RoundStep, rows_of(RoundStepRow).where(RoundStepRow.round_id.in_(ids))):
        outputs[step.round_id][step.step] = step.outputs
    for row in rows:
        del row["is_open"]
    return [Round(**row, outputs=outputs[row["id"]]) for row in rows]
