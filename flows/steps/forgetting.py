"""Forgetting: a sample that somebody wants gone, and what the log has kept long enough.

Rows go first, in one transaction, then the bytes that no row names any more. A kill in between leaves bytes that
nothing names, never a row that names bytes which are gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from db import forgetting
from db.records import Deletion
from db.repository import audit, retention
from flows.workspace import Workspace

KEEPER = "retention"
"""Who forgets in the audit trail when it is time."""
CHUNK_PREDICTIONS, CHUNK_SAMPLES = 2_000, 500
"""Rows of one transaction at most."""
MOST_CHUNKS = 20
"""Transactions of one turn at most; the next turn goes on."""


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What one turn of the retention deleted."""

    num_predictions: int = 0
    num_samples: int = 0
    num_blobs: int = 0


def forget_sample(ws: Workspace, sample_id: str, who: str, why: str) -> Deletion:
    """Delete a sample and everything that is remembered of it: `db.forgetting.forget_sample` in this home."""
    return forgetting.forget_sample(ws.database, ws.blobs, sample_id, who=who, why=why, now=ws.clock())


def remove_blobs(ws: Workspace, digests: Iterable[str]) -> int:
    """Delete bytes that no sample names; returns how many. They are put back if a row names them meanwhile."""
    return forgetting.remove_blobs(ws.database, ws.blobs, digests)


def forget_old(ws: Workspace) -> Forgotten:
    """Delete what the log of answers has kept for `service.log_days`; nothing if that is 0.

    Answers without feedback go first, then the samples that only they brought, then their bytes. In bounded pieces, so
    that nobody waits for long; a turn that deleted anything leaves a line with the counts in the audit trail.
    """
    days = ws.settings.service.log_days
    if days == 0:
        return Forgotten()
    moment = ws.clock() - timedelta(days=days)
    num_predictions = num_samples = num_blobs = 0
    for _ in range(MOST_CHUNKS):
        with ws.database.write() as session:
            num = retention.forget_predictions(session, moment, limit=CHUNK_PREDICTIONS)
        num_predictions += num
        if num < CHUNK_PREDICTIONS:
            break
    for _ in range(MOST_CHUNKS):
        with ws.database.write() as session:
            num, digests = retention.forget_live_samples(session, moment, limit=CHUNK_SAMPLES)
        num_samples += num
        num_blobs += remove_blobs(ws, digests)
        if num < CHUNK_SAMPLES:
            break
    done = Forgotten(num_predictions=num_predictions, num_samples=num_samples, num_blobs=num_blobs)
    if done != Forgotten():
        report(ws, done, days)
    return done


def report(ws: Workspace, done: Forgotten, days: float) -> None:
    """Leave the counts in the audit trail and say them."""
    why = f"kept for {days:g} days (service.log_days)"
    numbers = {
        "num_predictions": done.num_predictions,
        "num_samples": done.num_samples,
        "num_blobs": done.num_blobs,
    }
    with ws.database.write() as session:
        audit.add(
            session, who=KEEPER, action="forget", subject="log", subject_id="", why=why, numbers=numbers, now=ws.clock()
        )
    ws.reporter.say(
        f"retention   {done.num_predictions} answers, {done.num_samples} samples and {done.num_blobs} files: {why}"
    )
