"""Small models and samples that the model's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from omni_model.config import ModelConfig
from omni_model.model import OmniModel
from omni_model.sample import Sample, TaskSpec

SHAPES = TaskSpec(name="shape", instructions=("Which shape?", "Name the shape."), answers=("bar", "dot", "ring"))
TINY = ModelConfig(width=16, heads=2, ffn_width=16, segments=2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests compare bits, and share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_sample(
    number: int, *, modalities: Sequence[str] = ("text", "image", "audio"), labelled: bool = True
) -> Sample:
    """A learnable sample: its text, its picture's brightness and its tone tell the answer."""
    rng = np.random.default_rng(number)
    answer = number % 3
    tone = np.sin(np.arange(2400) * (0.2 + 0.5 * answer)) * np.hanning(2400)
    values = {
        "text": f"{SHAPES.answers[answer]} {number}",
        "image": rng.integers(80 * answer, 80 * answer + 60, (12, 16, 3), dtype=np.uint8),
        "audio": (0.5 * tone + 0.01 * rng.normal(size=2400)).astype(np.float32),
    }
    return Sample(
        id=f"s{number}",
        task="shape",
        instruction=SHAPES.instructions[number % 2],
        inputs={name: values[name] for name in modalities},
        answer=SHAPES.answers[answer] if labelled else None,
        domain=f"d{number % 2}",
    )


@pytest.fixture
def sample() -> Callable[..., Sample]:
    return make_sample


@pytest.fixture
def samples() -> list[Sample]:
    """Eighteen samples with every mix of missing modalities, none of them empty."""
    mixes = (("text", "image", "audio"), ("text",), ("image", "audio"), ("audio",), ("image",), ("text", "audio"))
    return [make_sample(number, modalities=mixes[number % len(mixes)]) for number in range(18)]


@pytest.fixture
def model() -> OmniModel:
    """A tiny model with fresh weights, in evaluation mode."""
    torch.manual_seed(0)
    tiny = OmniModel(TINY, [SHAPES])
    tiny.eval()
    return tiny
