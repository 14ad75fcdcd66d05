"""What modalities are chosen on in the benchmark: tri-digits, and easy-VQA with its questions as a modality."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omni_model.data import easy_vqa, tri_digits
from omni_model.data.manifest import read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import ManifestRow, decode_sample
from omni_model.data.splits import SPLITS, split_of
from omni_model.sample import Sample, TaskSpec

KINDS = ("color", "shape", "yes-no")


@dataclass(frozen=True, kw_only=True)
class World:
    """Samples of three splits, and the model that learns from them."""

    tasks: tuple[TaskSpec, ...]
    modalities: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    epochs: int


def digits(short: bool) -> World:
    """Tri-digits: three modalities, each missing now and then."""
    rows: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for sample in tri_digits.load():
        rows[split_of(sample.item)].append(sample)
    return World(
        tasks=(tri_digits.TASK,),
        modalities=("audio", "image", "text"),
        train=rows["train"],
        val=rows["val"],
        test=rows["test"][:: 3 if short else 1],
        epochs=4 if short else 10,
    )


def questions(short: bool) -> World:
    """Easy-VQA: question and picture, three kinds of question as three tasks."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        rows = [row for row in read_manifest(easy_vqa.build(folder)) if isinstance(row, ManifestRow)]
        return World(
            tasks=tuple(replace(easy_vqa.TASK, name=kind) for kind in KINDS),
            modalities=("image", "text"),
            train=_some(rows, "train", 600 if short else 2000, folder),
            val=_some(rows, "val", 400, folder),
            test=_some(rows, "test", 400, folder),
            epochs=2 if short else 6,
        )


def _some(rows: Sequence[ManifestRow], split: str, num: int, folder: Path) -> list[Sample]:
    """So many rows of a split at even distances, the question as a modality and its kind as the task."""
    having = [row for row in rows if split_of(row.item or row.id) == split]
    return [_as_two_modalities(row, folder) for row in having[:: max(1, len(having) // num)][:num]]


def _as_two_modalities(row: ManifestRow, folder: Path) -> Sample:
    data = {name: read_ref(ref, base=folder) for name, ref in row.inputs.items()}
    sample = decode_sample(row, data, {easy_vqa.TASK.name: easy_vqa.TASK})
    return replace(
        sample,
        task=sample.domain,
        instruction=easy_vqa.TASK.instructions[0],
        inputs={**sample.inputs, "text": sample.instruction},
    )
