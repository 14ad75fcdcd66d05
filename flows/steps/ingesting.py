"""From a manifest to samples: each row validated, its media decoded once to prove that they can be, then stored.

The work goes in chunks; each chunk's samples, labels, faults and the line reached are one transaction. A killed ingest
therefore goes on where it stopped, and the same manifest twice adds nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db.records import NewFault, NewLabel, Task
from db.repository import ingests, labels, samples, tasks
from flows.steps.models import task_specs
from flows.steps.sorting import Accepted, sort_rows, without_clashes
from flows.workspace import Workspace
from omni_model.data.manifest import ManifestRow, RowFault, read_manifest
from omni_model.sample import TaskSpec

CHUNK_ROWS = 500
CHUNK_BYTES = 64 * 2**20
"""Inline content held at once; a chunk ends early when its rows carry more."""
MAX_REASONS = 5
"""Faults that are told with their reason; all of them are kept."""


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What came of one manifest."""

    num_new: int = 0
    num_known: int = 0
    num_labels: int = 0
    num_faults: int = 0
    faults: tuple[str, ...] = ()
    """The first few reasons, for a person."""

    def __add__(self, later: "IngestReport") -> "IngestReport":
        return IngestReport(
            num_new=self.num_new + later.num_new,
            num_known=self.num_known + later.num_known,
            num_labels=self.num_labels + later.num_labels,
            num_faults=self.num_faults + later.num_faults,
            faults=(*self.faults, *later.faults)[:MAX_REASONS],
        )

    def __str__(self) -> str:
        line = f"{self.num_new} new samples, {self.num_known} already known, {self.num_labels} labels"
        return line + (f", {self.num_faults} rows quarantined (`omniloop data faults`)" if self.num_faults else "")


def add_task(ws: Workspace, spec: TaskSpec) -> None:
    """Make a task known, or widen a known one: answers may be added, never removed, because labels refer to them."""
    with ws.database.write() as session:
        tasks.put_task(session, Task(name=spec.name, instructions=spec.instructions, answers=spec.answers))


def ingest(ws: Workspace, manifest: Path, *, with_answers: bool = True) -> IngestReport:
    """Read ``manifest`` into the home. ``with_answers=False`` leaves the answers out, as for unlabelled traffic.

    A bad row is no error but a fault with its reason. Of a manifest that was read to its end before, the faulty rows
    are tried again: their task may be known by now, or their file be there. Raises ``FileNotFoundError`` for a manifest
    that is not there and ``ValueError`` for a file that is none.
    """
    read_manifest(manifest)  # refuses what is no manifest before anything is written
    digest = file_digest(manifest, salt=b"" if with_answers else b"without answers")
    with ws.database.write() as session:
        progress = ingests.start_ingest(session, digest, path=str(manifest), now=ws.clock())
        faulty = faulty_lines(session, digest)
    if progress.finished_at is None:
        rows: Iterable[ManifestRow | RowFault] = read_manifest(manifest, start=progress.next_line)
    else:
        rows = (row for row in read_manifest(manifest) if row.line in faulty) if faulty else ()
    known_tasks = task_specs(ws)
    total = IngestReport()
    for chunk in chunks(rows):
        accepted, refused = sort_rows(ws, chunk, known_tasks, manifest.parent, digest)
        with ws.database.write() as session:
            num_again = ingests.forget_faults(session, digest, [row.line for row in chunk])
            told = keep(session, digest, accepted, refused, with_answers=with_answers, now=ws.clock())
            progress = ingests.advance_ingest(
                session,
                digest,
                from_line=progress.next_line,
                next_line=max(progress.next_line, chunk[-1].line),
                num_new=told.num_new,
                num_known=told.num_known,
                num_faults=told.num_faults - num_again,
                now=ws.clock(),
            )
        total += told
    with ws.database.write() as session:
        ingests.finish_ingest(session, digest, now=ws.clock())
    return total


def keep(
    session: Session,
    manifest: str,
    accepted: list[Accepted],
    refused: list[NewFault],
    *,
    with_answers: bool,
    now: datetime,
) -> IngestReport:
    """Store what came of a chunk of rows."""
    accepted, clashes = without_clashes(session, accepted, manifest)
    refused = [*refused, *clashes]
    num_new, num_known = samples.add_samples(session, [row.sample for row in accepted], now=now)
    answered = [
        NewLabel(sample_id=row.sample.id, answer=row.answer, origin="manifest")
        for row in accepted
        if row.answer is not None and with_answers
    ]
    num_labels = labels.add_labels(session, answered, now=now)
    ingests.add_faults(session, refused, now=now)
    return IngestReport(
        num_new=num_new,
        num_known=num_known,
        num_labels=num_labels,
        num_faults=len(refused),
        faults=tuple(f"line {fault.line}: {fault.reason}" for fault in refused),
    )


def faulty_lines(session: Session, manifest: str) -> set[int]:
    """The lines of a manifest that were set aside."""
    found: set[int] = set()
    after = 0
    while page := ingests.list_faults(session, manifest=manifest, after=after):
        found |= {fault.line for fault in page}
        after = page[-1].id
    return found


def chunks(rows: Iterable[ManifestRow | RowFault]) -> Iterator[list[ManifestRow | RowFault]]:
    """Rows in lists of at most ``CHUNK_ROWS`` rows and about ``CHUNK_BYTES`` of inline content."""
    chunk: list[ManifestRow | RowFault] = []
    num_bytes = 0
    for row in rows:
        chunk.append(row)
        if isinstance(row, ManifestRow):
            num_bytes += sum(len(ref) for ref in row.inputs.values() if isinstance(ref, bytes))
        if len(chunk) >= CHUNK_ROWS or num_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def sample_ids(manifest: Path) -> list[str]:
    """Ids of the readable rows of a manifest, in order."""
    return [row.id for row in read_manifest(manifest) if isinstance(row, ManifestRow)]


def file_digest(path: Path, *, salt: bytes = b"") -> str:
    """BLAKE2b of a file's content, read in pieces; ``salt`` tells two ways of reading the same file apart."""
    found = hashlib.blake2b(digest_size=32, salt=salt)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
