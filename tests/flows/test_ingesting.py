"""Ingest: what is wrong with a row is said, the rest goes on, nothing is lost, and what was mended is taken up."""

import errno
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.blobs import BlobStore
from db.errors import BlobStoreUnavailable
from db.repository import ingests, labels, samples
from flows.errors import HomeError
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.ingesting import add_task, ingest
from flows.workspace import Workspace, open_workspace
from omni_model.data import tri_digits
from omni_model.data.codecs import CODECS
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample
from tests.flows import homes


@pytest.fixture
def new(small: Path) -> Any:
    """A home that knows the task and has no sample."""
    ws = open_workspace(Settings.load(), SILENT)
    add_task(ws, homes.TASK)
    yield ws
    ws.database.close()


def huge_png() -> bytes:
    """A valid picture of 100 megapixels in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


def truncated_wav() -> bytes:
    """The first half of a sound."""
    whole = CODECS["audio"].encode(np.zeros(8_000, dtype=np.float32))
    return whole[: len(whole) // 2]


BAD: dict[str, tuple[dict[str, Any], bytes | None, str]] = {
    "corrupt image": ({"image": "media"}, b"\x89PNG\r\n\x1a\n but no picture", "image"),
    "truncated audio": ({"audio": "media"}, truncated_wav(), "audio|sound"),
    "image of 100 megapixels": ({"image": "media"}, huge_png(), "pixels"),
    "text that is not UTF-8": ({"text": {"path": "media"}}, "né".encode("latin-1"), "UTF-8"),
    "missing file": ({"image": "nowhere.png"}, None, r"No file at .*nowhere\.png.*Correct the path"),
    "folder": ({"image": "."}, None, "no regular file"),
    "answer outside the set": ({"text": "two", "answer": "11"}, None, "'11' is not in the answer set .* Correct it"),
    "unknown modality": ({"smell": "media"}, b"x", "smell"),
    "modality that the model lacks": ({"sensor": {"base64": "AAAA"}}, None, "OMNI_MODEL__MODALITIES"),
    "unknown task": ({"text": "two", "task": "dance"}, None, "Unknown task 'dance'; known: digit"),
    "no modality": ({}, None, "no modality"),
    "address of another machine": ({"image": "http://127.0.0.1/x.png"}, None, "allowed"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_set_aside_with_its_reason_and_the_others_go_on(new: Workspace, tmp_path: Path, kind: str) -> None:
    fields, media, reason = BAD[kind]
    if media is not None:
        (tmp_path / "media").write_bytes(media)
    rows = [
        {"id": "before", "task": "digit", "text": "one", "answer": "1"},
        {"id": "bad", "task": "digit", **fields},
        {"id": "after", "task": "digit", "text": "three", "answer": "3"},
    ]
    manifest = write_lines(tmp_path, rows)
    report = ingest(new, manifest)
    assert (report.num_new, report.num_labels, report.num_faults) == (2, 2, 1)
    with new.database.read() as session:
        assert [row.id for row in samples.list_samples(session)] == ["after", "before"]
        (fault,) = ingests.list_faults(session)
    assert (fault.line, fault.sample_id) == (2, "bad")
    assert "bad" in fault.raw
    assert re.search(reason, fault.reason), fault.reason
    assert report.faults == (f"line 2: {fault.reason}",)


def test_a_line_that_is_no_row_is_set_aside_and_the_others_go_on(new: Workspace, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    good = b'{"id": "%d", "task": "digit", "text": "two", "answer": "2"}\n'
    manifest.write_bytes(good % 1 + b'{"id": "n\xe9"}\n' + b"{not json\n" + b"[]\n" + b'{"id": "x"}\n' + good % 2)
    report = ingest(new, manifest)
    assert (report.num_new, report.num_faults) == (2, 4)
    with new.database.read() as session:
        assert [fault.line for fault in ingests.list_faults(session)] == [2, 3, 4, 5]


def test_the_same_manifest_twice_adds_nothing(new: Workspace, tmp_path: Path) -> None:
    manifest = write_manifest(homes.domain("en", sizes={"train": 5}), tmp_path)
    assert ingest(new, manifest).num_new == 5
    again = ingest(new, manifest)
    assert (again.num_new, again.num_known, again.num_labels) == (0, 0, 0)
    with new.database.read() as session:
        assert len(samples.list_samples(session)) == 5


def test_a_longer_manifest_adds_what_is_new_and_leaves_a_persons_label_alone(new: Workspace, tmp_path: Path) -> None:
    rows = homes.domain("en", sizes={"train": 5})
    ingest(new, write_manifest([replace(row, answer=None) for row in rows[:3]], tmp_path / "first"))
    homes.label(new, rows[:1], {rows[0].id: "9"})
    report = ingest(new, write_manifest(rows, tmp_path / "second"))
    assert (report.num_new, report.num_known, report.num_labels) == (2, 3, 4)
    assert homes.labels_in_force(new)[rows[0].id] == "9"


def test_two_samples_under_one_id_are_told_apart(new: Workspace, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "task": "digit", "text": "one", "answer": "1"},
        {"id": "a", "task": "digit", "text": "two", "answer": "2"},
        {"id": "a", "task": "digit", "text": "one", "answer": "1"},
    ]
    assert ingest(new, write_lines(tmp_path, rows)).num_faults == 1
    (tmp_path / "later").mkdir()
    later = ingest(new, write_lines(tmp_path / "later", [{"id": "a", "task": "digit", "text": "three"}]))
    assert "'a' is known with other content" in later.faults[0]
    assert homes.labels_in_force(new) == {"a": "1"}


def test_rows_whose_fault_was_mended_outside_the_manifest_are_taken_at_the_next_try(
    new: Workspace, tmp_path: Path
) -> None:
    rows = [
        {"id": "a", "task": "digit", "text": "one", "answer": "1"},
        {"id": "b", "task": "parity", "text": "two", "answer": "even"},
        {"id": "c", "task": "digit", "image": "late.png", "answer": "3"},
        {"id": "d", "task": "digit", "text": "four", "answer": "ten"},
    ]
    manifest = write_lines(tmp_path, rows)
    assert ingest(new, manifest).num_faults == 3
    add_task(new, replace(homes.TASK, name="parity", answers=("even", "odd")))
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    (tmp_path / "late.png").write_bytes(CODECS["image"].encode(picture))
    again = ingest(new, manifest)
    assert (again.num_new, again.num_known, again.num_labels, again.num_faults) == (2, 0, 2, 1)
    with new.database.read() as session:
        assert [row.id for row in samples.list_samples(session)] == ["a", "b", "c"]
        assert [fault.sample_id for fault in ingests.list_faults(session)] == ["d"]
        (progress,) = ingests.list_ingests(session)
    assert (progress.num_new, progress.num_faults) == (3, 1)


def test_answers_are_left_out_of_traffic_and_taken_when_the_manifest_comes_again_with_them(
    new: Workspace, tmp_path: Path
) -> None:
    manifest = write_manifest(homes.domain("en", sizes={"train": 3}), tmp_path)
    assert ingest(new, manifest, with_answers=False).num_labels == 0
    report = ingest(new, manifest)
    assert (report.num_new, report.num_known, report.num_labels) == (0, 3, 3)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "folder.jsonl", "table.csv"])
def test_what_is_no_manifest_is_refused_before_anything_is_written(new: Workspace, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "table.csv").write_text("id,task\n")
    with pytest.raises((FileNotFoundError, ValueError), match=r"Correct the path|Convert or rename it"):
        ingest(new, tmp_path / name)
    with new.database.read() as session:
        assert ingests.list_ingests(session) == []


def test_a_full_disk_stops_an_ingest_that_goes_on_when_there_is_room(
    new: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = homes.domain("en", sizes={"train": 8})
    manifest = write_manifest(rows, tmp_path)
    full_after(monkeypatch, 10)
    with pytest.raises(BlobStoreUnavailable, match=r"(?i)space"):
        ingest(new, manifest)
    monkeypatch.undo()
    assert ingest(new, manifest).num_new == 8
    with new.database.read() as session:
        stored = samples.list_samples(session)
        assert all(labels.active_label(session, row.id) for row in stored)
    assert all(new.blobs.get(digest) for row in stored for digest in row.inputs.values())


def full_after(patch: pytest.MonkeyPatch, num_blobs: int) -> None:
    """A disk on which this many blobs fit, and of the next one a part."""
    real, num = BlobStore._write, 0

    def write(self: BlobStore, digest: str, data: bytes) -> None:
        nonlocal num
        num += 1
        if num > num_blobs:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, digest, data)

    patch.setattr(BlobStore, "_write", write)


def test_a_home_that_cannot_be_written_is_refused_with_the_mend(small: Path) -> None:
    """A file in place of the folder, because root may write to a read-only one."""
    small.parent.mkdir(parents=True, exist_ok=True)
    small.write_text("not a folder")
    with pytest.raises(HomeError, match=r"cannot be written: .*OMNI_HOME"):
        open_workspace(Settings.load(), SILENT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; run the tests as another user")
def test_a_read_only_home_is_refused_with_the_mend(small: Path) -> None:
    small.mkdir(parents=True)
    small.chmod(0o500)
    with pytest.raises(HomeError, match=r"cannot be written: Permission denied\. .*mend its permissions"):
        open_workspace(Settings.load(), SILENT)


def test_live_samples_come_only_from_training_items() -> None:
    """Else the demo's traffic would leak the test split into the pool."""
    train = {row.item for row in homes.domain("es", sizes={"train": 10_000})}
    live: list[Sample] = list(tri_digits.live("es", 50, seed=3))
    assert {row.item for row in live} <= train


def write_lines(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A manifest of one's own making."""
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest
