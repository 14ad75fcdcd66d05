"""Records of the data: tasks, samples, labels, the label queue, ingests and what they could not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A question with a closed set of answers, in the order of the model's outputs."""

    name: str
    instructions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NewSample:
    """A sample on its way in. Its blobs are in the store already; its label, if any, is added on its own."""

    id: str
    task: str
    instruction: str
    inputs: Mapping[str, str]
    """Modality to blob digest."""
    split: str
    """train, val or test; fixed for good."""
    item: str = ""
    """Unit of splitting; defaults to `id`."""
    source: str = ""
    domain: str = ""
    """Defaults to `source`."""
    time: datetime | None = None
    """When it was observed, time-zone aware."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("A sample's id is empty. Give every sample an id of its own.")
        if self.split not in SPLITS:
            raise ValueError(f"Sample {self.id}: split must be one of {', '.join(SPLITS)}, got {self.split!r}.")
        if not self.item:
            object.__setattr__(self, "item", self.id)
        if not self.domain:
            object.__setattr__(self, "domain", self.source)


@dataclass(frozen=True, kw_only=True)
class StoredSample:
    """A sample as it is remembered."""

    id: str
    task: str
    instruction: str
    item: str
    source: str
    domain: str
    split: str
    time: datetime | None
    inputs: Mapping[str, str]
    ingested_at: datetime
    quarantined_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewLabel:
    """An answer on its way in."""

    sample_id: str
    answer: str
    origin: str
    """`manifest`, `dataset`, or `human:NAME`."""
    round_id: int | None = None
    """The round that asked for it, if one did."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """An answer that was given. Never overwritten: a later one supersedes it, and both stay."""

    id: int
    sample_id: str
    answer: str
    origin: str
    round_id: int | None
    created_at: datetime
    superseded_at: datetime | None
    """None for the label in force."""
    supersedes_id: int | None
    quarantined_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class LabelledSample:
    """A sample with the label in force."""

    sample: StoredSample
    label: Label

    @property
    def answer(self) -> str:
        """The answer in force."""
        return self.label.answer


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """A sample that waits for a person to label it."""

    id: int
    sample_id: str
    task: str
    round_id: int | None
    priority: float
    """Higher is offered first."""
    queued_at: datetime
    leased_to: str | None
    lease_until: datetime | None
    done_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """How far the reading of one manifest has come."""

    manifest: str
    """Digest of the manifest."""
    path: str
    next_line: int
    """The line to go on with; 0 at the start."""
    num_new: int
    num_known: int
    num_faults: int
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewFault:
    """A row that could not be read, on its way in."""

    manifest: str
    line: int
    reason: str
    sample_id: str | None = None
    raw: str = ""
    """The row as it stood, shortened if long."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row that could not be read, set aside with its reason."""

    id: int
    manifest: str
    line: int
    sample_id: str | None
    reason: str
    raw: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Blob:
    """What is known about bytes in the blob store."""

    digest: str
    size: int
    """Bytes."""
    media: str
    """Media type or modality, e.g. `image/png`; empty if unknown."""
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What went with a deleted sample, and what it leaves behind in models."""

    sample_id: str
    blobs: tuple[str, ...] = field(default=())
    """Digests that no other sample uses: remove them from the blob store."""
    num_labels: int = 0
    num_predictions: int = 0
    num_mirrors: int = 0
    """What other versions answered to the same requests."""
    num_rounds: int = 0
    """Rounds that it was a member of."""
    trained_versions: tuple[int, ...] = ()
    """Versions whose own round trained on it."""
    derived_versions: tuple[int, ...] = ()
    """Versions that descend from those and so may still carry it."""
