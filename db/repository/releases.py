"""The moves of a release. Each is one compare-and-set with its audit line and its outbox messages, in the caller's
transaction: promotion and rollback happen entirely or not at all, and need nothing but the database.

What is in service changes only here, and each change counts `generation` up by one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.models import ReleaseRow
from db.records import Release
from db.records.loop import Json
from db.releases import State
from db.repository import trial_ends
from db.repository.checks import check_generation, check_move, check_way_is_free, refusal
from db.repository.common import fetch_one, hold_the_loop, insert_into, rows_of, write
from db.repository.moves import move, put_in_service, record_move, set_columns
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
    record_move(session, version, None, "candidate", who=who, why="", numbers=metrics or {}, now=now)
    return get_release(session, version)


def await_approval(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """Leave the decision to a person: the gate was inconclusive, or the policy is manual."""
    hold_the_loop(session)
    move(session, get_release(session, version), "awaiting_approval", who=who, why=why, numbers=numbers, now=now)
    return get_release(session, version)


def reject(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """Refuse a version for good, and quarantine its round and the labels that the round asked for."""
    hold_the_loop(session)
    move(session, get_release(session, version), "rejected", who=who, why=why, numbers=numbers, now=now)
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

    `IllegalMove` while another version is on probation, if the version's round is in quarantine or its parent is not
    accepted (it may have learnt from bad data), or if there is no accepted version to fall back to. `GenerationMoved`
    if what is in service has changed since `expect_generation`.
    """
    hold_the_loop(session)
    release = get_release(session, version)
    target: State = "probation" if probation else "accepted"
    check_move(release, target)
    if release.state == "probation":
        raise IllegalMove(
            f"Version {version} is in service already, on probation. Accept it to end the probation well."
        )
    check_generation(session, expect_generation)
    check_way_is_free(session, release)
    if probation and last_accepted(session) is None:
        raise IllegalMove(
            f"Version {version} cannot be on probation: no accepted version is there to fall back to. "
            "Promote the first one with probation=False."
        )
    move(session, release, target, who=who, why=why, numbers=numbers, now=now)
    trial_ends.forget_other_pairs(session, version, serving(session).version)
    put_in_service(session, version, previous=serving(session).version, who=who, now=now)
    return get_release(session, version)


def accept(
    session: Session, version: int, *, who: str, why: str, now: datetime, numbers: Json | None = None
) -> Release:
    """End a version's probation well. It stays in service, so the generation stays too."""
    hold_the_loop(session)
    release = get_release(session, version)
    if release.state != "probation":
        raise IllegalMove(
            refusal(release, "accepted") + " Only a version on probation can be accepted; promote it first."
        )
    move(session, release, "accepted", who=who, why=why, numbers=numbers, now=now)
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
    check_move(release, "rolled_back")
    check_generation(session, expect_generation)
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
    move(session, release, "rolled_back", who=who, why=why, numbers=numbers, now=now)
    fallback = last_accepted(session, before=target.version)
    put_in_service(session, target.version, previous=None if fallback is None else fallback.version, who=who, now=now)
    return get_release(session, version)


def add_metrics(session: Session, version: int, metrics: Json) -> Release:
    """Remember more numbers about a version; a number of the same name is replaced."""
    set_columns(session, version, metrics={**get_release(session, version).metrics, **metrics})
    return get_release(session, version)


def set_mlflow(
    session: Session, version: int, *, run_id: str | None = None, mlflow_version: str | None = None
) -> Release:
    """Where MLflow keeps the version; what is None stays as it was."""
    given = {"mlflow_run_id": run_id, "mlflow_version": mlflow_version}
    values = {name: value for name, value in given.items() if value is not None}
    if values:
        set_columns(session, version, **values)
    return get_release(session, version)
