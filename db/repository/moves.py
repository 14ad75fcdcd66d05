"""How a move of a release is made: what is written, what ends with it, and what is left for others to read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.models import ReleaseRow, ServingRow
from db.records import Release
from db.records.loop import Json
from db.releases import BLAMED, State
from db.repository import audit, outbox, trial_ends
from db.repository.checks import check_move
from db.repository.common import write
from db.repository.rounds import blame
from db.repository.versions import serving


def move(
    session: Session, release: Release, target: State, *, who: str, why: str, numbers: Json | None, now: datetime
) -> None:
    """Compare and set the state, quarantine the round if it is to blame, end a trial of the version or against it, and
    write the audit line and the messages.
    """
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
        blame(
            session, release.round_id, reason=f"version {release.version} is {target.replace('_', ' ')}: {why}", now=now
        )
    record_move(session, release.version, release.state, target, who=who, why=why, numbers=numbers or {}, now=now)
    if target != "awaiting_approval":
        trial_ends.end_of(session, release.version, target, who=who, why=why, now=now)


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


def put_in_service(session: Session, version: int, *, previous: int | None, who: str, now: datetime) -> None:
    """Make a version the one in service: the generation counts up, the version remembers it, and a trial against what
    was in service before ends.
    """
    trial_ends.end_any(session, f"v{version} came into service", who=who, now=now)
    generation = serving(session).generation + 1
    write(
        session,
        update(ServingRow)
        .where(ServingRow.id == 1)
        .values(version=version, previous_version=previous, generation=generation, updated_at=now),
    )
    set_columns(session, version, generation=generation)


def set_columns(session: Session, version: int, **values: Any) -> None:
    """Set columns of a release that no rule guards."""
    write(session, update(ReleaseRow).where(ReleaseRow.version == version).values(**values))
