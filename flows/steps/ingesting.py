"""From a manifest to samples: each row validated, its media decoded once to prove that they can be, then stored.

The work goes in chunks; each chunk's samples, labels, faults and the line reached are one transaction. A killed ingest
therefore goes on where it stopped, and the same manifest twice adds nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from db.records import NewFault, NewLabel, NewSample, Task
from db.repository import ingests, labels, samples, tasks
from flows.steps.models import task_specs
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.data.manifest import ManifestRow, RowFault, read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import validate_row
from omni_model.data.splits import split_of
from omni_model.sample import TaskSpec

CHUNK_ROWS = 500
CHUNK_BYTES = 64 * 2**20
"""Inline content held at once; a chunk ends early when its rows carry more."""
MAX_RAW = 4_000
"""Characters of a faulty row that are kept."""


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What came of one manifest."""

    num_new: int
    num_known: int
    num_labels: int
    num_faults: int
    faults: tuple[str, ...] = field(default=())
    """The first few reasons, for a person."""

    def __str__(self) -> str:
        line = f"{self.num_new} new samples, {self.num_known} already known, {self.num_labels} labels"
        return line + (f", {self.num_faults} rows quarantined (`omniloop data faults`)" if self.num_faults else "")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A row that can be used."""

    sample: NewSample
    answer: str | None
    line: int


def add_task(ws: Workspace, spec: TaskSpec) -> None:
    """Make a task known, or widen a known one: answers may be added, never removed, because labels refer to them."""
    with ws.database.write() as session:
        tasks.put_task(session, Task(name=spec.name, instructions=spec.instructions, answers=spec.answers))


def ingest(ws: Workspace, manifest: Path, *, with_answers: bool = True) -> IngestReport:
    """Read ``manifest`` into the home. ``with_answers=False`` leaves the answers out, as for unlabelled traffic.

    Raises ``FileNotFoundError`` for a manifest that is not there; a bad row is no error but a fault with its reason.
    """
    digest = file_digest(manifest, salt=b"" if with_answers else b"without answers")
    with ws.database.write() as session:
        progress = ingests.start_ingest(session, digest, path=str(manifest), now=ws.clock())
    known_tasks = task_specs(ws)
    counts = {"new": 0, "known": 0, "labels": 0, "faults": 0}
    reasons: list[str] = []
    for chunk in chunks(read_manifest(manifest, start=progress.next_line)):
        accepted, refused = sort_rows(ws, chunk, known_tasks, manifest.parent, digest)
        with ws.database.write() as session:
            accepted, clashes = without_clashes(session, accepted, digest)
            refused += clashes
            num_new, num_known = samples.add_samples(session, [row.sample for row in accepted], now=ws.clock())
            answered = [
                NewLabel(sample_id=row.sample.id, answer=row.answer, origin="manifest")
                for row in accepted
                if row.answer is not None and with_answers
            ]
            num_labels = labels.add_labels(session, answered, now=ws.clock())
            ingests.add_faults(session, refused, now=ws.clock())
            progress = ingests.advance_ingest(
                session,
                digest,
                from_line=progress.next_line,
                next_line=chunk[-1].line,
                num_new=num_new,
                num_known=num_known,
                num_faults=len(refused),
                now=ws.clock(),
            )
        for key, num in zip(counts, (num_new, num_known, num_labels, len(refused)), strict=True):
            counts[key] += num
        reasons += [f"line {fault.line}: {fault.reason}" for fault in refused][: 5 - len(reasons)]
    with ws.database.write() as session:
        ingests.finish_ingest(session, digest, now=ws.clock())
    return IngestReport(
        num_new=counts["new"],
        num_known=counts["known"],
        num_labels=counts["labels"],
        num_faults=counts["faults"],
        faults=tuple(reasons),
    )


def sort_rows(
    ws: Workspace, chunk: list[ManifestRow | RowFault], specs: Mapping[str, TaskSpec], folder: Path, manifest: str
) -> tuple[list[Accepted], list[NewFault]]:
    """Rows that can be used, and faults for the others. Stores the media of the good rows."""
    accepted: list[Accepted] = []
    refused: list[NewFault] = []
    for row in chunk:
        if isinstance(row, RowFault):
            refused.append(NewFault(manifest=manifest, line=row.line, sample_id=row.id, reason=row.reason, raw=row.raw))
            continue
        try:
            validate_row(row, specs)
            schemes = ws.settings.uri_schemes
            media = {modality: read_ref(ref, base=folder, schemes=schemes) for modality, ref in row.inputs.items()}
            for modality, data in media.items():
                CODECS[modality].decode(data)
        except (RowError, DecodeError) as error:
            raw = repr(row)[:MAX_RAW]
            refused.append(NewFault(manifest=manifest, line=row.line, sample_id=row.id, reason=str(error), raw=raw))
            continue
        stored = {modality: ws.blobs.put(data) for modality, data in media.items()}
        accepted.append(Accepted(sample=new_sample(row, stored, specs), answer=row.answer, line=row.line))
    return accepted, refused


def without_clashes(session: Session, accepted: list[Accepted], manifest: str) -> tuple[list[Accepted], list[NewFault]]:
    """The rows whose id is new or means the same sample as before, and faults for two samples under one id."""
    clashing = set(samples.differing(session, [row.sample for row in accepted]))
    faults = [
        NewFault(
            manifest=manifest,
            line=row.line,
            sample_id=row.sample.id,
            reason=f"The id {row.sample.id!r} is known with other content. Give this sample an id of its own.",
        )
        for row in accepted
        if row.sample.id in clashing
    ]
    return [row for row in accepted if row.sample.id not in clashing], faults


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


def new_sample(row: ManifestRow, inputs: Mapping[str, str], specs: Mapping[str, TaskSpec]) -> NewSample:
    """The database's form of a good row; ``inputs`` are blob digests by modality."""
    item = row.item or row.id
    return NewSample(
        id=row.id,
        task=row.task,
        instruction=row.instruction or specs[row.task].instructions[0],
        item=item,
        source=row.source,
        domain=row.domain or row.source,
        split=split_of(item),
        time=row.time,
        inputs=dict(inputs),
    )


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
