from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from omni_model.data import made_clips, made_sensors
from omni_model.data.splits import split_of
from omni_model.sample import Sample


def same(one: list[Sample], other: list[Sample], modality: str) -> bool:
    return all(
        np.array_equal(np.asarray(a.inputs[modality]), np.asarray(b.inputs[modality]))
        for a, b in zip(one, other, strict=True)
    )


def test_clips_are_short_films_with_movements_in_turn() -> None:
    clips = made_clips.load(60)
    assert {np.asarray(clip.inputs["video"]).shape for clip in clips} == {(8, 32, 32, 3)}
    assert Counter(clip.answer for clip in clips) == dict.fromkeys(made_clips.TASK.answers, 10)
    assert same(clips[:6], made_clips.load(6), "video")
    assert not same(clips[:6], made_clips.load(6, seed=1), "video")


def test_clips_of_one_square_stay_in_one_split() -> None:
    splits: dict[str, set[str]] = {}
    for clip in made_clips.load(300):
        splits.setdefault(clip.item, set()).add(split_of(clip.item))
    assert len(splits) > 30
    assert {len(found) for found in splits.values()} == {1}


def test_the_camera_moves_as_the_answer_says() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[:, 30:34] = 255  # an upright bar in the middle

    def bar(frame: np.ndarray) -> np.ndarray:
        return np.flatnonzero(frame[16, :, 0] > 128)

    right = made_clips.film(picture, "pan right", speed=1.0)
    assert bar(right[0]).mean() > 24
    assert bar(right[-1]).mean() < 8
    assert np.array_equal(made_clips.film(picture, "pan left", speed=1.0), right[::-1])
    closer = made_clips.film(picture, "zoom in", speed=1.0)
    assert len(bar(closer[-1])) > len(bar(closer[0]))
    turned = made_clips.film(picture, "rotate left", speed=1.0)[-1]
    top, bottom = np.flatnonzero(turned[4, :, 0] > 128).mean(), np.flatnonzero(turned[28, :, 0] > 128).mean()
    assert top > bottom  # the camera leans left, so what is upright leans right


def test_clips_can_be_made_of_other_pictures() -> None:
    (clip,) = made_clips.load(1, pictures=[np.full((10, 20, 3), 7, dtype=np.uint8)])
    assert np.asarray(clip.inputs["video"])[:, 10:22, 10:22].max() == 7


def test_recordings_have_six_channels_and_gestures_in_turn() -> None:
    recordings = made_sensors.load(60)
    assert {np.asarray(one.inputs["sensor"]).shape for one in recordings} == {(128, 6)}
    assert {np.asarray(one.inputs["sensor"]).dtype for one in recordings} == {np.dtype(np.float32)}
    assert Counter(one.answer for one in recordings) == dict.fromkeys(made_sensors.TASK.answers, 10)
    assert same(recordings[:6], made_sensors.load(6), "sensor")
    assert not same(recordings[:6], made_sensors.load(6, seed=1), "sensor")
    assert len({one.item for one in recordings}) == 60


def test_gestures_can_be_told_apart_but_not_perfectly() -> None:
    recordings = made_sensors.load(600)
    tables = np.stack([np.asarray(one.inputs["sensor"]) for one in recordings])
    spectra = np.abs(np.fft.rfft(tables, axis=1))[:, :15].reshape(len(tables), -1)
    answers = np.array([one.answer for one in recordings])
    test = np.array([split_of(one.item) == "test" for one in recordings])
    forest = RandomForestClassifier(100, random_state=0).fit(spectra[~test], answers[~test])
    assert forest.score(spectra[test], answers[test]) == pytest.approx(0.93, abs=0.06)
