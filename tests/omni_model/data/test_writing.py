from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni_model.data import made_clips, made_sensors, tri_digits
from omni_model.data.manifest import ManifestRow, read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import decode_sample
from omni_model.data.writing import file_stem, open_manifest, write_manifest
from omni_model.sample import Sample, load_task

TASKS = {module.TASK.name: module.TASK for module in (tri_digits, made_clips, made_sensors)}


def read_back(manifest: Path) -> list[Sample]:
    samples = []
    for row in read_manifest(manifest):
        assert isinstance(row, ManifestRow), row
        content = {modality: read_ref(ref, base=manifest.parent) for modality, ref in row.inputs.items()}
        samples.append(decode_sample(row, content, TASKS))
    return samples


def test_samples_survive_the_way_through_real_files_bit_for_bit(tmp_path: Path) -> None:
    samples = [*tri_digits.load(["en"])[:40], *made_clips.load(6), *made_sensors.load(6)]
    found = read_back(write_manifest(samples, tmp_path, tasks=TASKS.values()))
    assert len(found) == len(samples)
    for one, other in zip(found, samples, strict=True):
        for name in ("id", "task", "instruction", "answer", "item", "source", "domain", "time"):
            assert getattr(one, name) == getattr(other, name)
        assert list(one.inputs) == list(other.inputs)
        for modality, value in other.inputs.items():
            assert np.array_equal(np.asarray(one.inputs[modality]), np.asarray(value))


def test_the_task_specs_lie_beside_the_manifest(tmp_path: Path) -> None:
    write_manifest([], tmp_path, tasks=TASKS.values())
    assert {load_task(path).name: load_task(path) for path in (tmp_path / "tasks").iterdir()} == TASKS


def test_time_and_odd_ids_are_kept(tmp_path: Path) -> None:
    time = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    ids = ["../../etc/passwd", "a/b", "ä", "x" * 400, ".", "con"]
    samples = [Sample(id=name, task="digit", instruction="?", inputs={"text": name}, time=time) for name in ids]
    found = read_back(write_manifest(samples, tmp_path / "deep" / "folder"))
    assert [(sample.id, sample.inputs["text"], sample.time) for sample in found] == [(name, name, time) for name in ids]
    assert {path.parent for path in tmp_path.rglob("*.txt")} == {tmp_path / "deep" / "folder" / "text"}


def test_a_manifest_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    def failing() -> Any:
        yield tri_digits.load(["en"])[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_manifest(failing(), tmp_path)
    assert not (tmp_path / "manifest.jsonl").exists()


def test_a_row_with_something_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="got ndarray"), open_manifest(tmp_path) as manifest:
        manifest.add({"id": "a", "image": np.zeros(3)})


def test_file_names_of_different_ids_differ() -> None:
    ids = ["a/b", "a%2Fb", "a b", "a.b", "", "x" * 121, "x" * 122]
    assert len({file_stem(name) for name in ids}) == len(ids)
