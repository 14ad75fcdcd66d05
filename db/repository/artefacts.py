"""What was made for versions: the newest of a kind counts, the older ones stay."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from db.models.serving import ArtefactRow
from db.records.artefacts import Artefact
from db.records.loop import Json
from db.repository.common import fetch_all, fetch_one, insert_new, rows_of
from db.repository.versions import get_release


def put(
    session: Session, version: int, kind: str, digest: str, *, now: datetime, detail: Json | None = None
) -> Artefact:
    """Note that the bytes under `digest` belong to a version. The same bytes again change nothing.

    Raises `NotFound` for an unknown version, `ValueError` for an empty kind.
    """
    if not kind:
        raise ValueError("An artefact's kind is empty. Name what it is, such as msn.")
    get_release(session, version)
    row = {"version": version, "kind": kind, "digest": digest, "detail": dict(detail or {}), "created_at": now}
    insert_new(session, ArtefactRow, [row])
    statement = rows_of(ArtefactRow).where(
        ArtefactRow.version == version, ArtefactRow.kind == kind, ArtefactRow.digest == digest
    )
    found = fetch_one(session, Artefact, statement)
    assert found is not None
    return found


def newest(session: Session, version: int, kind: str) -> Artefact | None:
    """The version's artefact of this kind that was put last; None if there is none."""
    statement = rows_of(ArtefactRow).where(ArtefactRow.version == version, ArtefactRow.kind == kind)
    return fetch_one(session, Artefact, statement.order_by(ArtefactRow.id.desc()))


def list_artefacts(session: Session, version: int) -> list[Artefact]:
    """Everything made for a version, oldest first."""
    return fetch_all(
        session, Artefact, rows_of(ArtefactRow).where(ArtefactRow.version == version).order_by(ArtefactRow.id)
    )
