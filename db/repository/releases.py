"""The moves of a release. Each is one compare-and-set with its audit line and its outbox messages, in the caller's
transaction: promotion and rollback happen entirely or not at all, and need nothing but the database.

What is in service changes only here, and each change counts `generation` up by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.errors import GenerationMoved, IllegalMove
from db.models import ReleaseRow, ServingRow
from db.records import Release
from db.records.loop import Json
from db.releases import BLAMED, State, describe_moves, is_allowed
from db.repository import audit, outbox
from db.repository.common import fetch_one, hold_the_loop, insert_into, rows_of, write
from db.repository.rounds import blame
from db.repository.versions import (
    get_release,
    history,
    last_accepted,
    on_probation,
    release_of_round,
    serving,
)

__all__ = [
    "accept",
    "add_metrics",
    "await_approval",
    "create_candidate",
    "get_release",
    "history",
    "last_accepted",
    "on_probation",
    "promote",
    "reject",
    "release_of_round",
    "rollback",
    "serving",
    "set_mlflow",
]

LOOP = "loop"
"""Who did it, when nobody did."""


def create_candidate(
    session: Session,
    *,
    round_id: int | None,
    parent_version: int | None,
    digest: str,
    now: datetime,
    base_digest: str | None = None,
    metrics: Json | None = None,
    who: str = LOOP,
) -> Release:
    """Allocate the next version for a checkpoint. A round has one candidate: asked again, the same is returned as it
    is, with the digest that it was first given.
    """
    hold_the_loop(session)
    if round_id is not None:
        known = fetch_one(session, Release, rows_of(ReleaseRow).where(ReleaseRow.round_id == round_id))
        if known is not None:
            return known
    version = (session.scalars(select(func.max(ReleaseRow.version))).one() or 0) + 1
    write(
        session,
        insert_into(session, ReleaseRow).values(
            version=version,
            state="candidate",
            round_id=round_id,
            parent_version=parent_version,
            digest=digest,
            base_digest=base_digest,
            metrics=dict(metrics or {}),
            created_at=now,
            updated_at=now,
        ),
    )
    _record_move(session, version, None, "candidate", who=who, why="", numbers=metrics or {}, now=now)
    return get_release(session, version)


def await_approval(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """Leave the decision to a person: the gate was inconclusive, or the policy is manual."""
    hold_the_loop(session)
    _move(session, get_release(session, version), "awaiting_approval", who=who, why=why, numbers=numbers, now=now)
    return get_release(session, version)


def reject(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """Refuse a version for good, and quarantine its round and the labels that the round asked for."""
    hold_the_loop(session)
    _move(session, get_release(session, version), "rejected", who=who, why=why, numbers=numbers, now=now)
    return get_release(session, version)


def promote(
    session: Session,
    version: int,
    *,
    who: str,
    why: str,
    now: datetime,
    numbers: Json | None = None,
    probation: bool = True,
    expect_generation: int | None = None,
) -> Release:
    """Put a version in service, on probation; with `probation=False` it is accepted at once.

    `IllegalMove` while another version is on probation, if the version's parent is not accepted (its data may be
    tainted), or if there is no accepted version to fall back to. `GenerationMoved` if what is in service has changed
    since `expect_generation`.
    """
    hold_the_loop(session)
    release = get_release(session, version)
    target: State = "probation" if probation else "accepted"
    _check_move(release, target)
    if release.state == "probation":
        raise IllegalMove(
            f"Version {version} is in service already, on probation. Accept it to end the probation well."
        )
    _check_generation(session, expect_generation)
    _check_way_is_free(session, release)
    if probation and last_accepted(session) is None:
        raise IllegalMove(
            f"Version {version} cannot be on probation: no accepted version is there to fall back to. "
            "Promote the first one with probation=False."
        )
    _move(session, release, target, who=who, why=why, numbers=numbers, now=now)
    _serve(session, version, previous=serving(session).version, now=now)
    return get_release(session, version)


def accept(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """End a version's probation well. It stays in service, so the generation stays too."""
    hold_the_loop(session)
    release = get_release(session, version)
    if release.state != "probation":
        raise IllegalMove(
            _refusal(release, "accepted") + " Only a version on probation can be accepted; promote it first."
        )
    _move(session, release, "accepted", who=who, why=why, numbers=numbers, now=now)
    return get_release(session, version)


def rollback(
    session: Session,
    version: int,
    *,
    who: str,
    why: str,
    now: datetime,
    numbers: Json | None = None,
    expect_generation: int | None = None,
) -> Release:
    """Take the version in service back, on probation or accepted. The version accepted last before it is served again;
    the round of the one taken back and the labels that the round asked for are quarantined.

    Once per incident: a second rollback of the same version is an `IllegalMove` and leaves no trace.
    """
    hold_the_loop(session)
    release = get_release(session, version)
    _check_move(release, "rolled_back")
    _check_generation(session, expect_generation)
    in_service = serving(session)
    if in_service.version != version:
        raise IllegalMove(
            f"Version {version} is {release.state} but not in service; version {in_service.version} is. "
            f"Roll back version {in_service.version} first, or leave it."
        )
    target = last_accepted(session, before=version)
    if target is None:
        raise IllegalMove(
            f"Version {version} cannot be rolled back: there is no other accepted version to return to. "
            "Train and promote another one."
        )
    _move(session, release, "rolled_back", who=who, why=why, numbers=numbers, now=now)
    fallback = last_accepted(session, before=target.version)
    _serve(session, target.version, previous=None if fallback is None else fallback.version, now=now)
    return get_release(session, version)


def add_metrics(session: Session, version: int, metrics: Json) -> Release:
    """Remember more numbers about a version; a number of the same name is replaced."""
    _set(session, version, metrics={**get_release(session, version).metrics, **metrics})
    return get_release(session, version)


def set_mlflow(
    session: Session, version: int, *, run_id: str | None = None, mlflow_version: str | None = None
) -> Release:
    """Where MLflow keeps the version; what is None stays as it was."""
    given = {"mlflow_run_id": run_id, "mlflow_version": mlflow_version}
    values = {name: value for name, value in given.items() if value is not None}
    if values:
        _set(session, version, **values)
    return get_release(session, version)


def _move(
    session: Session, release: Release, target: State, *, who: str, why: str, numbers: Json | None, now: datetime
) -> None:
    """Compare and set the state, quarantine the round if it is to blame, and write the audit line and the messages."""
    _check_move(release, target)
    moved = write(
        session,
        update(ReleaseRow)
        .where(ReleaseRow.version == release.version, ReleaseRow.state == release.state)
        .values(state=target, updated_at=now),
    )
    if not moved:
        raise IllegalMove(
            f"Version {release.version} is no longer {release.state}: somebody else moved it. Look again."
        )
    if target in BLAMED and release.round_id is not None:
        blame(session, release.round_id, reason=f"version {release.version} {target}: {why}", now=now)
    _record_move(session, release.version, release.state, target, who=who, why=why, numbers=numbers or {}, now=now)


def _record_move(
    session: Session,
    version: int,
    old: State | None,
    new: State,
    *,
    who: str,
    why: str,
    numbers: Mapping[str, Any],
    now: datetime,
) -> None:
    audit.add(
        session,
        who=who,
        action=new,
        subject="release",
        subject_id=version,
        version=version,
        from_state=old,
        to_state=new,
        why=why,
        numbers=numbers,
        now=now,
    )
    payload = {"version": version, "from_state": old, "to_state": new, "who": who, "why": why, "numbers": numbers}
    for kind in ("mlflow_alias",) if new == "candidate" else ("notify", "mlflow_alias"):
        outbox.put(session, kind=kind, key=f"{kind}:release:{version}:{new}", payload=payload, now=now)


def _serve(session: Session, version: int, *, previous: int | None, now: datetime) -> None:
    generation = serving(session).generation + 1
    write(
        session,
        update(ServingRow)
        .where(ServingRow.id == 1)
        .values(version=version, previous_version=previous, generation=generation, updated_at=now),
    )
    _set(session, version, generation=generation)


def _check_move(release: Release, target: State) -> None:
    if not is_allowed(release.state, target):
        raise IllegalMove(_refusal(release, target))


def _refusal(release: Release, target: State) -> str:
    return (
        f"Version {release.version} is {release.state} and cannot become {target}. "
        f"Allowed from here: {describe_moves(release.state)}."
    )


def _check_generation(session: Session, expected: int | None) -> None:
    now = serving(session).generation
    if expected is not None and now != expected:
        raise GenerationMoved(
            f"What is in service has changed: generation {now}, expected {expected}. Look again and decide anew."
        )


def _check_way_is_free(session: Session, release: Release) -> None:
    other = on_probation(session)
    if other is not None and other.version != release.version:
        raise IllegalMove(
            f"Version {release.version} cannot be promoted while version {other.version} is on probation. "
            f"Wait for its end, or accept or roll back version {other.version}."
        )
    if release.parent_version is None:
        return
    parent = get_release(session, release.parent_version)
    if parent.state != "accepted":
        raise IllegalMove(
            f"Version {release.version} descends from version {parent.version}, which is {parent.state}. "
            f"Reject version {release.version} and start a round from the last accepted version."
        )


def _set(session: Session, version: int, **values: Any) -> None:
    write(session, update(ReleaseRow).where(ReleaseRow.version == version).values(**values))
