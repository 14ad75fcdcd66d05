"""Samples made worse on purpose, for drills: a camera turned negative, a microphone lost, a label that lies.

Each takes a sample and returns another with the same id; the one given is not changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from omni_model.sample import Sample


def invert_image(sample: Sample) -> Sample:
    """Black becomes white. A sample without an image comes back as it is."""
    image = sample.inputs.get("image")
    if not isinstance(image, np.ndarray):
        return sample
    return replace(sample, inputs={**sample.inputs, "image": 255 - image})


def drop(sample: Sample, modality: str) -> Sample:
    """Without one modality; possibly with none left."""
    return replace(sample, inputs={name: value for name, value in sample.inputs.items() if name != modality})


def with_answer(sample: Sample, answer: str | None) -> Sample:
    """With another answer, or with none."""
    return replace(sample, answer=answer)
