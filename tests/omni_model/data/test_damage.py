from __future__ import annotations

import numpy as np

from omni_model.data.damage import drop, invert_image, with_answer
from omni_model.data.tri_digits import load
from omni_model.sample import Sample

SAMPLE = next(sample for sample in load(["en"]) if len(sample.inputs) == 3)


def test_inverting_twice_gives_the_picture_back_and_touches_nothing_else() -> None:
    before = np.asarray(SAMPLE.inputs["image"]).copy()
    once = invert_image(SAMPLE)
    assert np.array_equal(np.asarray(once.inputs["image"]), 255 - before)
    assert np.array_equal(np.asarray(invert_image(once).inputs["image"]), before)
    assert np.array_equal(np.asarray(SAMPLE.inputs["image"]), before)
    assert once.inputs["audio"] is SAMPLE.inputs["audio"]
    assert (once.id, once.item, once.answer) == (SAMPLE.id, SAMPLE.item, SAMPLE.answer)


def test_inverting_without_a_picture_changes_nothing() -> None:
    blind = drop(SAMPLE, "image")
    assert invert_image(blind) is blind


def test_dropping_removes_one_modality_and_may_leave_none() -> None:
    assert drop(SAMPLE, "image").modalities == SAMPLE.modalities - {"image"}
    assert drop(SAMPLE, "video").modalities == SAMPLE.modalities
    only_text = Sample(id="a", task="digit", instruction="?", inputs={"text": "two"})
    assert drop(only_text, "text").inputs == {}


def test_an_answer_can_be_changed_and_taken_away() -> None:
    assert with_answer(SAMPLE, "9").answer == "9"
    assert with_answer(SAMPLE, None).answer is None
