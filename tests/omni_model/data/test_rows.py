from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from omni_model.data.errors import DecodeError, RowError
from omni_model.data.rows import ManifestRow, decode_sample, validate_row
from omni_model.sample import TaskSpec
from tests.omni_model.data.media import noise_picture, picture_bytes

TASKS = {"digit": TaskSpec(name="digit", instructions=("Which digit?",), answers=tuple("0123456789"))}
ROW = ManifestRow(line=1, id="a", task="digit", answer="2", inputs={"text": b"two", "image": "a.png"})


def test_a_good_row_passes_with_and_without_answer() -> None:
    validate_row(ROW, TASKS)
    validate_row(replace(ROW, answer=None), TASKS)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (replace(ROW, task="letter"), "Unknown task 'letter'; known: digit"),
        (replace(ROW, answer="ten"), "answer 'ten' is not in the answer set of task digit: 0, 1"),
        (replace(ROW, answer=""), "answer '' is not in the answer set"),
        (replace(ROW, inputs={"smell": b"x"}), "Unknown modality 'smell'; known: audio, image, sensor, text, video"),
        (replace(ROW, inputs={}), "has no modality"),
    ],
)
def test_a_row_that_cannot_be_taken_says_why(row: ManifestRow, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        validate_row(row, TASKS)


def test_an_id_that_was_seen_is_refused() -> None:
    with pytest.raises(RowError, match="id 'a' was used before"):
        validate_row(ROW, TASKS, seen={"a"})


def test_a_row_and_its_content_make_a_sample() -> None:
    picture = noise_picture()
    row = replace(ROW, item="thing", source="shop", time=datetime(2026, 1, 1, tzinfo=UTC))
    sample = decode_sample(row, {"text": b"two", "image": picture_bytes(picture)}, TASKS)
    assert (sample.id, sample.task, sample.answer, sample.item) == ("a", "digit", "2", "thing")
    assert (sample.source, sample.domain, sample.time) == ("shop", "shop", row.time)
    assert sample.instruction == "Which digit?"
    assert sample.inputs["text"] == "two"
    assert np.array_equal(np.asarray(sample.inputs["image"]), picture)


def test_an_error_of_decoding_begins_with_the_modality() -> None:
    with pytest.raises(DecodeError, match=r"^image: The image is none of"):
        decode_sample(ROW, {"text": b"two", "image": b"GIMP"}, TASKS)


@pytest.mark.parametrize("content", [{"text": b"two"}, {"text": b"two", "image": b"", "audio": b""}])
def test_content_must_come_for_exactly_the_modalities_of_the_row(content: dict[str, bytes]) -> None:
    with pytest.raises(RowError, match="content came for"):
        decode_sample(ROW, content, TASKS)
