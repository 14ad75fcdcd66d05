"""Reading releases: what is in service, what was accepted last, what there is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import ReleaseRow, ServingRow
from db.records import Release, Serving
from db.releases import State
from db.repository.common import fetch_all, fetch_one, rows_of, table_of


def serving(session: Session) -> Serving:
    """What is in service now; version None before the first promotion."""
    table = ServingRow
    columns = (table.version, table.previous_version, table.generation, table.updated_at)
    found = fetch_one(session, Serving, select(*columns))
    if found is None:
        raise NotFound("The row of `serving` is missing. Restore the database from a backup.")
    return found


def in_service(session: Session) -> tuple[Serving, Release | None]:
    """What is in service and its release, in one look; None before the first promotion."""
    serves, made = table_of(ServingRow).c, table_of(ReleaseRow).c
    names = ("version", "previous_version", "generation", "updated_at")
    columns = [serves[name].label(f"serving_{name}") for name in names]
    statement = select(*columns, *made).select_from(ServingRow).outerjoin(ReleaseRow, made.version == serves.version)
    found = dict(session.execute(statement).mappings().one())
    service = Serving(**{name: found.pop(f"serving_{name}") for name in names})
    return service, None if service.version is None else Release(**found)


def last_accepted(session: Session, *, before: int | None = None) -> Release | None:
    """The accepted version that was put in service last: where the next round starts and a rollback ends.

    With `before`, the last one that is not that version. None if there is none.
    """
    statement = rows_of(ReleaseRow).where(ReleaseRow.state == "accepted", ReleaseRow.generation.is_not(None))
    statement = statement.order_by(ReleaseRow.generation.desc())
    if before is not None:
        statement = statement.where(ReleaseRow.version != before)
    return fetch_one(session, Release, statement)


def on_probation(session: Session) -> Release | None:
    """The version on probation, if one is."""
    return fetch_one(session, Release, rows_of(ReleaseRow).where(ReleaseRow.state == "probation"))


def get_release(session: Session, version: int) -> Release:
    """The release of this version; `NotFound` if there is none."""
    found = fetch_one(session, Release, rows_of(ReleaseRow).where(ReleaseRow.version == version))
    if found is None:
        raise NotFound(f"There is no version {version}. List them with `omniloop models list`.")
    return found


def release_of_round(session: Session, round_id: int) -> Release | None:
    """The version that a round made, if it has come so far."""
    return fetch_one(session, Release, rows_of(ReleaseRow).where(ReleaseRow.round_id == round_id))


def history(session: Session, *states: State) -> list[Release]:
    """All releases in these states (any, if none is given), by version. The moves are in `audit.history`."""
    statement = rows_of(ReleaseRow).order_by(ReleaseRow.version)
    return fetch_all(session, Release, statement.where(ReleaseRow.state.in_(states)) if states else statement)


def page(session: Session, *, state: State | None = None, before: int | None = None, limit: int = 50) -> list[Release]:
    """The latest releases, newest first, of one state if one is named; from those below the version `before`."""
    statement = rows_of(ReleaseRow).order_by(ReleaseRow.version.desc()).limit(limit)
    if state is not None:
        statement = statement.where(ReleaseRow.state == state)
    return fetch_all(session, Release, statement if before is None else statement.where(ReleaseRow.version < before))


def count_by_state(session: Session) -> dict[str, int]:
    """How many releases there are in each state that some are in."""
    statement = select(ReleaseRow.state, func.count()).group_by(ReleaseRow.state)
    return {state: num for state, num in session.execute(statement)}


def get_releases(session: Session, versions: Sequence[int]) -> list[Release]:
    """The releases of these versions, by version; unknown ones are left out."""
    return fetch_all(
        session, Release, rows_of(ReleaseRow).where(ReleaseRow.version.in_(list(versions))).order_by(ReleaseRow.version)
    )


def children(session: Session, version: int, *, limit: int = 20) -> list[Release]:
    """The releases that were tuned from a version, newest first."""
    statement = rows_of(ReleaseRow).where(ReleaseRow.parent_version == version)
    return fetch_all(session, Release, statement.order_by(ReleaseRow.version.desc()).limit(limit))


def around(session: Session, version: int) -> dict[int, Release]:
    """The version with all that its next move depends on, in one query: its parent, what serves, what is on probation,
    and the two accepted last.
    """
    serves = select(ServingRow.version).scalar_subquery()
    parent = select(ReleaseRow.parent_version).where(ReleaseRow.version == version).scalar_subquery()
    accepted = select(ReleaseRow.version).where(ReleaseRow.state == "accepted", ReleaseRow.generation.is_not(None))
    newest = accepted.order_by(ReleaseRow.generation.desc()).limit(2).subquery()
    chosen = or_(
        ReleaseRow.version == version,
        ReleaseRow.version == parent,
        ReleaseRow.version == serves,
        ReleaseRow.state == "probation",
        ReleaseRow.version.in_(select(newest.c.version)),
    )
    return {each.version: each for each in fetch_all(session, Release, rows_of(ReleaseRow).where(chosen))}
