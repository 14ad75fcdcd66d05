"""Forgetting a sample: rows first, in one transaction, then the bytes that no row names any more.

A kill in between leaves bytes that nothing names, never a row that names bytes which are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from db.blobs import BlobStore
from db.engine import Database
from db.errors import BlobMissing
from db.records import Deletion
from db.repository import deletion


def forget_sample(
    database: Database, blobs: BlobStore, sample_id: str, *, who: str, why: str, now: datetime
) -> Deletion:
    """Delete a sample with its media, labels, log rows, second answers and replay membership.

    Raises `NotFound` if there is none. The result names the versions that learnt it, and those that descend from them:
    weights do not forget.
    """
    with database.write() as session:
        gone = deletion.delete_sample(session, sample_id, who=who, why=why, now=now)
    remove_blobs(database, blobs, gone.blobs)
    return gone


def remove_blobs(database: Database, blobs: BlobStore, digests: Iterable[str]) -> int:
    """Delete bytes that no sample names; returns how many.

    The same bytes may come in again at this very moment, be found in the store, and be named by a new row. So it is
    looked again after the deletion, and they are put back if a row names them by now. Whoever logs a row looks for its
    bytes after the row is there (the service's prediction log); one of the two sees the other.
    """
    num_removed = 0
    for digest in digests:
        try:
            data = blobs.get(digest)
        except BlobMissing:
            continue
        blobs.delete(digest)
        with database.read() as session:
            is_named = bool(deletion.named(session, [digest]))
        if is_named:
            blobs.put(data)
        else:
            num_removed += 1
    return num_removed
