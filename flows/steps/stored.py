"""Stored samples made whole again: media fetched from the blob store and decoded."""

from collections.abc import Iterable, Sequence

from db.records import LabelledSample, StoredSample
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.sample import Sample


def load_sample(ws: Workspace, stored: StoredSample, answer: str | None = None) -> Sample:
    """One sample as the model takes it. Raises if its media were damaged in the store."""
    return Sample(
        id=stored.id,
        task=stored.task,
        instruction=stored.instruction,
        inputs={modality: CODECS[modality].decode(ws.blobs.get(digest)) for modality, digest in stored.inputs.items()},
        answer=answer,
        item=stored.item,
        source=stored.source,
        domain=stored.domain,
        time=stored.time,
    )


def load_samples(ws: Workspace, stored: Sequence[StoredSample]) -> list[Sample]:
    """Samples without answers, in order."""
    return [load_sample(ws, sample) for sample in stored]


def load_labelled(ws: Workspace, labelled: Iterable[LabelledSample]) -> list[Sample]:
    """Samples with the labels in force, in order."""
    return [load_sample(ws, entry.sample, entry.answer) for entry in labelled]
