"""How far each manifest has been read, what it held that could not be, and which blobs were stored on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import BlobRow, FaultRow, IngestRow
from db.models.base import cleaned
from db.records import Blob, Fault, Ingest, NewFault
from db.repository.common import MANY_IDS, fetch_all, fetch_one, in_chunks, insert_into, insert_new, rows_of, write

MAX_RAW_CHARS = 4_000


def start_ingest(session: Session, manifest: str, *, path: str, now: datetime) -> Ingest:
    """Begin with a manifest (named by its digest), or find out where to go on: at `next_line`, if not finished."""
    write(
        session,
        insert_into(session, IngestRow)
        .on_conflict_do_nothing()
        .values(
            manifest=manifest,
            path=path,
            next_line=0,
            num_new=0,
            num_known=0,
            num_faults=0,
            started_at=now,
            updated_at=now,
        ),
    )
    return get_ingest(session, manifest)


def advance_ingest(
    session: Session,
    manifest: str,
    *,
    from_line: int,
    next_line: int,
    now: datetime,
    num_new: int = 0,
    num_known: int = 0,
    num_faults: int = 0,
) -> Ingest:
    """The lines up to `next_line` are done; the counts are added up. Call it in the transaction that added the samples.

    `IllegalMove` unless the ingest stands at `from_line`: then another process reads the same manifest.
    """
    if next_line < from_line:
        raise ValueError(f"An ingest goes forward, got {from_line} to {next_line}.")
    moved = write(
        session,
        update(IngestRow)
        .where(IngestRow.manifest == manifest, IngestRow.next_line == from_line)
        .values(
            next_line=next_line,
            num_new=IngestRow.num_new + num_new,
            num_known=IngestRow.num_known + num_known,
            num_faults=IngestRow.num_faults + num_faults,
            updated_at=now,
        ),
    )
    ingest = get_ingest(session, manifest)
    if not moved:
        raise IllegalMove(
            f"Manifest {manifest[:12]} stands at line {ingest.next_line}, not {from_line}: another process reads it "
            "too. Let it finish."
        )
    return ingest


def finish_ingest(session: Session, manifest: str, *, now: datetime) -> Ingest:
    """The manifest is read to its end."""
    get_ingest(session, manifest)
    write(
        session,
        update(IngestRow)
        .where(IngestRow.manifest == manifest, IngestRow.finished_at.is_(None))
        .values(finished_at=now, updated_at=now),
    )
    return get_ingest(session, manifest)


def get_ingest(session: Session, manifest: str) -> Ingest:
    """The ingest of this manifest; `NotFound` if it never began."""
    ingest = fetch_one(session, Ingest, rows_of(IngestRow).where(IngestRow.manifest == manifest))
    if ingest is None:
        raise NotFound(f"Manifest {manifest[:12]} was never ingested. Call start_ingest() first.")
    return ingest


def list_ingests(session: Session, *, limit: int = 100) -> list[Ingest]:
    """Ingests, the latest first."""
    return fetch_all(session, Ingest, rows_of(IngestRow).order_by(IngestRow.started_at.desc()).limit(limit))


def add_faults(session: Session, rows: Iterable[NewFault], *, now: datetime) -> int:
    """Set rows aside with their reasons; returns how many were new. A line of a manifest is set aside once."""
    return insert_new(
        session,
        FaultRow,
        (
            {
                "manifest": row.manifest,
                "line": row.line,
                "sample_id": None if row.sample_id is None else cleaned(row.sample_id),
                "reason": cleaned(row.reason),
                "raw": cleaned(row.raw)[:MAX_RAW_CHARS],
                "at": now,
            }
            for row in rows
        ),
    )


def list_faults(session: Session, *, manifest: str | None = None, after: int = 0, limit: int = 1_000) -> list[Fault]:
    """Faults in the order they were found, from the one after id `after`."""
    statement = rows_of(FaultRow).where(FaultRow.id > after).order_by(FaultRow.id).limit(limit)
    if manifest is not None:
        statement = statement.where(FaultRow.manifest == manifest)
    return fetch_all(session, Fault, statement)


def latest_faults(
    session: Session, *, manifest: str | None = None, before: int | None = None, limit: int = 50
) -> list[Fault]:
    """The faults found last, the latest first, from those with ids below `before`."""
    statement = rows_of(FaultRow).order_by(FaultRow.id.desc()).limit(limit)
    if manifest is not None:
        statement = statement.where(FaultRow.manifest == manifest)
    return fetch_all(session, Fault, statement if before is None else statement.where(FaultRow.id < before))


def forget_faults(session: Session, manifest: str, lines: Sequence[int]) -> int:
    """Take lines out of the faults of a manifest, to try them again; returns how many were there."""
    return sum(
        write(session, delete(FaultRow).where(FaultRow.manifest == manifest, FaultRow.line.in_(chunk)))
        for chunk in in_chunks(lines, MANY_IDS)
    )


def add_blobs(session: Session, rows: Iterable[tuple[str, int, str]], *, now: datetime) -> int:
    """Note blobs that are in the store, as (digest, size in bytes, media); returns how many were new."""
    return insert_new(
        session,
        BlobRow,
        ({"digest": digest, "size": size, "media": media, "created_at": now} for digest, size, media in rows),
    )


def get_blobs(session: Session, digests: Sequence[str]) -> dict[str, Blob]:
    """What is known about these digests; unknown ones are left out."""
    found: dict[str, Blob] = {}
    for chunk in in_chunks(digests, MANY_IDS):
        for blob in fetch_all(session, Blob, rows_of(BlobRow).where(BlobRow.digest.in_(chunk))):
            found[blob.digest] = blob
    return found


def list_blobs(session: Session, *, after: str = "", limit: int = 1_000) -> list[str]:
    """One page of digests, in order."""
    return list(
        session.scalars(select(BlobRow.digest).where(BlobRow.digest > after).order_by(BlobRow.digest).limit(limit))
    )
