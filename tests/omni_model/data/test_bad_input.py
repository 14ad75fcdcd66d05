"""A real folder of real files, all of them wrong in another way: each a clear fault, none of which stops the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.data.manifest import ManifestRow, RowFault, read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import decode_sample
from omni_model.sample import Sample, TaskSpec
from tests.omni_model.data.media import (
    film_bytes,
    noise_picture,
    picture_bytes,
    png_header,
    ramp_film,
    sound_bytes,
    tone,
)

TASKS = {"digit": TaskSpec(name="digit", instructions=("Which digit?",), answers=tuple("0123456789"))}
FILES = {
    "good.png": picture_bytes(noise_picture()),
    "good.wav": sound_bytes(tone(0.1)),
    "corrupt.png": picture_bytes(noise_picture())[:70] + bytes(40),
    "truncated.wav": sound_bytes(tone(1.0))[:9000],
    "huge.png": png_header(10_000, 10_000),
    "latin.txt": "zéro".encode("latin-1"),
    "truncated.mp4": film_bytes(ramp_film(10))[:-200],
    "nan.csv": b"1,2\n3,nan\n",
    "empty.png": b"",
}
ROWS: dict[str, tuple[Mapping[str, object], str | None]] = {
    "good": ({"text": "two", "image": "good.png", "audio": "good.wav", "answer": "2"}, None),
    "corrupt image": ({"image": "corrupt.png"}, "image: The image cannot be read"),
    "truncated audio": ({"audio": "truncated.wav"}, "audio: The audio is truncated: it declares 16,000 bytes"),
    "100 megapixels": ({"image": "huge.png"}, "100.0 megapixels, more than the 16.8 allowed"),
    "not utf-8": ({"text": {"path": "latin.txt"}}, "text: The text is not UTF-8: byte 0xe9 at position 1"),
    "truncated video": ({"video": "truncated.mp4"}, "video: The video is truncated"),
    "nan": ({"sensor": "nan.csv"}, "at step 1, channel 1"),
    "empty file": ({"image": "empty.png"}, "image: The image is empty (0 bytes)"),
    "missing file": ({"image": "gone.png"}, "No file at"),
    "wrong answer": ({"text": "two", "answer": "ten"}, "The answer 'ten' is not in the answer set of task digit"),
    "unknown modality": ({"smell": "good.png"}, "Unknown modality 'smell'"),
    "no modality": ({"answer": "2"}, "The row has no modality"),
    "still good": ({"text": "three"}, None),
}


def ingest(manifest: Path) -> Iterator[Sample | RowFault]:
    """What a driver does with a manifest, without its database."""
    for row in read_manifest(manifest):
        if isinstance(row, RowFault):
            yield row
            continue
        try:
            content = {name: read_ref(ref, base=manifest.parent) for name, ref in row.inputs.items()}
            yield decode_sample(row, content, TASKS)
        except (RowError, DecodeError) as error:
            yield RowFault(line=row.line, id=row.id, reason=str(error))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    lines = [json.dumps({"id": name, "task": "digit", **fields}).encode() for name, (fields, _) in ROWS.items()]
    lines.append(b'{"id": "latin line", "task": "digit", "text": "\xe9"}')
    lines.append(json.dumps({"id": "last", "task": "digit", "text": "four"}).encode())
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def test_each_bad_row_is_a_fault_that_names_its_mend_and_the_rest_goes_on(manifest: Path) -> None:
    found = list(ingest(manifest))
    assert len(found) == len(ROWS) + 2
    for outcome, (name, (_, reason)) in zip(found, ROWS.items(), strict=False):
        if reason is None:
            assert isinstance(outcome, Sample), outcome
            assert outcome.id == name
        else:
            assert isinstance(outcome, RowFault), name
            assert reason in outcome.reason
            assert outcome.reason.count(". ") >= 1, "a fault says what to do"
    line, last = found[-2:]
    assert isinstance(line, RowFault)
    assert "not UTF-8" in line.reason
    assert isinstance(last, Sample)


def test_the_good_rows_are_decoded_in_full(manifest: Path) -> None:
    sample = next(ingest(manifest))
    assert isinstance(sample, Sample)
    assert sample.inputs["text"] == "two"
    assert np.array_equal(np.asarray(sample.inputs["image"]), noise_picture())
    assert np.asarray(sample.inputs["audio"]).shape == (800,)


def test_a_row_may_be_taken_up_again_where_reading_stopped(manifest: Path) -> None:
    rows = list(read_manifest(manifest))
    stopped = rows[4]
    assert isinstance(stopped, ManifestRow)
    assert list(read_manifest(manifest, start=stopped.line)) == rows[5:]


@pytest.mark.parametrize(
    ("modality", "data"),
    [
        ("audio", b"fLaC" + bytes(50)),
        ("image", b"\xff\xd8\xff" + bytes(9)),
        ("image", b"GIF89a"),
        ("image", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIDA\0" + bytes(20)),
        ("video", b"\0\0\0\x10ftypisom" + bytes(4)),
    ],
)
def test_what_is_wrong_is_said_in_words_and_not_in_a_parsers_own(modality: str, data: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        CODECS[modality].decode(data)
    said = str(refused.value)
    assert not [word for word in ("BytesIO", "0x", "b'", "Errno", "<none>", "unpack", "driver") if word in said], said
    assert ".." not in said
