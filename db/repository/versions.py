"""Reading releases: what is in service, what was accepted last, what there is."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import ReleaseRow, ServingRow
from db.records import Release, Serving
from db.releases import State
from db.repository.common import fetch_all, fetch_one, rows_of


def serving(session: Session) -> Serving:
    """What is in service now; version None before the first promotion."""
    table = ServingRow
    columns = (table.version, table.previous_version, table.generation, table.updated_at)
    found = fetch_one(session, Serving, select(*columns))
    if found is None:
        raise NotFound("The row of `serving` is missing. Restore the database from a backup.")
    return found


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
