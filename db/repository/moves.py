"""How a move of a release is made: what is checked before, what is written, and what is left for others to read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.errors import GenerationMoved, IllegalMove
from db.models import ReleaseRow, ServingRow
from db.records import Release
from db.records.loop import Json
from db.releases import BLAMED, State, describe_moves, is_allowed
from db.repository import audit, outbox
from db.repository.common import write
from db.repository.rounds import blame, get_round
from db.repository.versions import get_release, last_accepted, on_probation, serving


def move(
    session: Session, release: Release, target: State, *, who: str, why: str, numbers: Json | None, now: datetime
) -> None:
    """Compare and set the state, quarantine the round if it is to blame, and write the audit line and the messages."""
    check_move(release, target)
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
    record_move(session, release.version, release.state, target, who=who, why=why, numbers=numbers or {}, now=now)


def record_move(
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
    """Write the audit line and the messages of a move; a new candidate is no news for people, only for MLflow."""
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


def put_in_service(session: Session, version: int, *, previous: int | None, now: datetime) -> None:
    """Make a version the one in service: the generation counts up, and the version remembers it."""
    generation = serving(session).generation + 1
    write(
        session,
        update(ServingRow)
        .where(ServingRow.id == 1)
        .values(version=version, previous_version=previous, generation=generation, updated_at=now),
    )
    set_columns(session, version, generation=generation)


def check_move(release: Release, target: State) -> None:
    """`IllegalMove` unless the table of moves allows it."""
    if not is_allowed(release.state, target):
        raise IllegalMove(refusal(release, target))


def refusal(release: Release, target: State) -> str:
    """Why a release cannot go there."""
    return (
        f"Version {release.version} is {release.state} and cannot become {target}. "
        f"Allowed from here: {describe_moves(release.state)}."
    )


def check_generation(session: Session, expected: int | None) -> None:
    """`GenerationMoved` if something is expected and what is in service has changed since."""
    now = serving(session).generation
    if expected is not None and now != expected:
        raise GenerationMoved(
            f"What is in service has changed: generation {now}, expected {expected}. Look again and decide anew."
        )


def check_way_is_free(session: Session, release: Release) -> None:
    """`IllegalMove` if the version must not enter service now: another is on probation, or its data are tainted."""
    other = on_probation(session)
    if other is not None and other.version != release.version:
        raise IllegalMove(
            f"Version {release.version} cannot be promoted while version {other.version} is on probation. "
            f"Wait for its end, or accept or roll back version {other.version}."
        )
    if release.round_id is not None and get_round(session, release.round_id).quarantined_at is not None:
        raise IllegalMove(
            f"Version {release.version} learnt from round {release.round_id}, which is in quarantine. "
            f"Reject version {release.version}, or lift the quarantine first."
        )
    if release.parent_version is None:
        return
    parent = get_release(session, release.parent_version)
    if parent.state != "accepted":
        raise IllegalMove(
            f"Version {release.version} descends from version {parent.version}, which is {parent.state}. "
            f"Reject version {release.version} and start a round from the last accepted version."
        )
    newest = last_accepted(session)
    if newest is not None and newest.version != parent.version:
        raise IllegalMove(
            f"Version {release.version} was made from, and compared with, version {parent.version}, but version "
            f"{newest.version} has been accepted since. Reject version {release.version} and start a new round."
        )


def set_columns(session: Session, version: int, **values: Any) -> None:
    """Set columns of a release that no rule guards."""
    write(session, update(ReleaseRow).where(ReleaseRow.version == version).values(**values))
