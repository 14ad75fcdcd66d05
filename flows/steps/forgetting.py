"""Forgetting: a sample that somebody wants gone, and what the log has kept long enough.

Rows go first, in one transaction, then the bytes that no row names any more. A kill in between leaves bytes that
nothing names, never a row that names bytes which are gone.
"""

from collections.abc import Iterable

from db.errors import BlobMissing
from db.records import Deletion
from db.repository import deletion
from flows.workspace import Workspace


def forget_sample(ws: Workspace, sample_id: str, who: str, why: str) -> Deletion:
    """Delete a sample with its media, labels, log rows, second answers and replay membership.

    Raises `db.errors.NotFound` if there is none. The result names the versions that learnt it, and those that descend
    from them: weights do not forget.
    """
    with ws.database.write() as session:
        gone = deletion.delete_sample(session, sample_id, who=who, why=why, now=ws.clock())
    remove_blobs(ws, gone.blobs)
    return gone


def remove_blobs(ws: Workspace, digests: Iterable[str]) -> int:
    """Delete bytes that no sample names; returns how many.

    The same bytes may come in again at this very moment, be found in the store, and be named by a new row. So it is
    looked again after the deletion, and they are put back if a row names them by now. Whoever logs a row looks for its
    bytes after the row is there (`flows.service.prediction_log`); one of the two sees the other.
    """
    num_removed = 0
    for digest in digests:
        try:
            data = ws.blobs.get(digest)
        except BlobMissing:
            continue
        ws.blobs.delete(digest)
        with ws.database.read() as session:
            is_named = bool(deletion.named(session, [digest]))
        if is_named:
            ws.blobs.put(data)
        else:
            num_removed += 1
    return num_removed
