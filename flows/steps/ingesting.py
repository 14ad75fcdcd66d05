"""From a manifest to samples: each row validated, its media decoded once to prove that they can be, then stored.

The work goes in chunks; each chunk's samples, labels, faults and the line reached are one transaction. A killed ingest
therefore goes on where it stopped, and the same manifest twice adds nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from db.records import NewFault, NewLabel, NewSample, Task
from db.repository import ingests, labels, samples, tasks
from flows.steps.media import read_media
from flows.steps.models import task_specs
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.data.manifest import ManifestRow, RowFault, read_manifest
from omni_model.data.rows import validate_row
from omni_model.data.splits import split_of
from omni_model.sample import TaskSpec

CHUNK_ROWS = 500


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


def add_task(ws: Workspace, spec: TaskSpec) -> None:
    """Make a task known, or widen a known one: answers may be added, never removed, because labels refer to them."""
    with ws.database.write() as session:
        tasks.put_task(session, Task(name=spec.name, instructions=spec.instructions, answers=spec.answers))


def ingest(ws: Workspace, manifest: Path, *, with_answers: bool = True) -> IngestReport:
    """Read ``manifest`` into the home. ``with_answers=False`` leaves the answers out, as for unlabelled traffic.

    Raises ``FileNotFoundError`` for a manifest that is not there; a bad row is no error but a fault with its reason.
    """
    digest = file_digest(manifest)
    with ws.database.write() as session:
        progress = ingests.start_ingest(session, digest, path=str(manifest), now=ws.clock())
    known_tasks = task_specs(ws)
    rows = read_manifest(manifest, start=progress.next_line)
    counts = {"new": 0, "known": 0, "labels": 0, "faults": 0}
    reasons: list[str] = []
    while chunk := list(islice(rows, CHUNK_ROWS)):
        accepted, refused = sort_rows(ws, chunk, known_tasks, manifest.parent, digest)
        with ws.database.write() as session:
            num_new, num_known = samples.add_samples(session, [new for new, _ in accepted], now=ws.clock())
            answered = [
                NewLabel(sample_id=new.id, answer=answer, origin="manifest")
                for new, answer in accepted
                if answer is not None and with_answers
            ]
            num_labels = labels.add_labels(session, answered, now=ws.clock())
            ingests.add_faults(session, refused, now=ws.clock())
            reached = ingests.advance_ingest(
                session,
                digest,
                from_line=progress.next_line,
                next_line=chunk[-1].line,
                num_new=num_new,
                num_known=num_known,
                num_faults=len(refused),
                now=ws.clock(),
            )
        progress = reached
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
) -> tuple[list[tuple[NewSample, str | None]], list[NewFault]]:
    """Rows that can be used, with their answers, and faults for the others. Stores the media of the good rows."""
    accepted: list[tuple[NewSample, str | None]] = []
    refused: list[NewFault] = []
    for row in chunk:
        if isinstance(row, RowFault):
            refused.append(NewFault(manifest=manifest, line=row.line, sample_id=row.id, reason=row.reason, raw=row.raw))
            continue
        try:
            validate_row(row, specs)
            media = {modality: read_media(ref, folder, ws.settings.uri_schemes) for modality, ref in row.inputs.items()}
            for modality, data in media.items():
                CODECS[modality].decode(data)
        except (RowError, DecodeError) as error:
            refused.append(
                NewFault(manifest=manifest, line=row.line, sample_id=row.id, reason=str(error), raw=repr(row)[:4000])
            )
            continue
        accepted.append((new_sample(row, {m: ws.blobs.put(data) for m, data in media.items()}, specs), row.answer))
    return accepted, refused


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


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's content, read in pieces."""
    found = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
