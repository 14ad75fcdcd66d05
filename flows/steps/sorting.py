"""The rows of a manifest that can be used, as samples, and for each of the others why it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from db.records import NewFault, NewSample
from db.repository import samples
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.data.manifest import ManifestRow, RowFault
from omni_model.data.refs import read_ref
from omni_model.data.rows import validate_row
from omni_model.data.splits import split_of
from omni_model.sample import TaskSpec

MAX_RAW = 4_000
"""Characters of a faulty row that are kept."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A row that can be used."""

    sample: NewSample
    answer: str | None
    line: int


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
            check_modalities(ws, row)
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
    known = set(samples.differing(session, [row.sample for row in accepted]))
    first: dict[str, NewSample] = {}
    clashing = [
        row for row in accepted if row.sample.id in known or first.setdefault(row.sample.id, row.sample) != row.sample
    ]
    faults = [
        NewFault(
            manifest=manifest,
            line=row.line,
            sample_id=row.sample.id,
            reason=f"The id {row.sample.id!r} is known with other content. Give this sample an id of its own.",
        )
        for row in clashing
    ]
    return [row for row in accepted if row not in clashing], faults


def check_modalities(ws: Workspace, row: ManifestRow) -> None:
    """Raise ``RowError`` for a modality that the model has no encoder for: nothing could be done with the sample."""
    taken = ws.settings.model.modalities
    unknown = sorted(set(row.inputs) - set(taken))
    if unknown and not ws.settings.own_model:
        raise RowError(
            f"The row has {', '.join(unknown)}, but the model takes {', '.join(taken)}. Leave it out, or name it in "
            "OMNI_MODEL__MODALITIES before the first version is trained."
        )


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
