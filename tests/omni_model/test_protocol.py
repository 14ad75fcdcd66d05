"""Another model, and another modality, take part without a change anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omni_model.checkpoint import load, save, save_delta
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.elastic import tune
from omni_model.encoders import ENCODERS, Encoder, register_encoder
from omni_model.encoders.registry import Value, float_tensor
from omni_model.evaluate import predict
from omni_model.features import encode_samples
from omni_model.model import OmniModel
from omni_model.protocol import register_model
from omni_model.sample import Sample, TaskSpec
from omni_model.train import fit
from tests.omni_model.conftest import SHAPES
from tests.omni_model.small_model import SmallModel


def test_another_model_goes_through_the_whole_loop(sample: Callable[..., Sample], tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = [sample(number) for number in range(60)]
    base = SmallModel([SHAPES])
    fit(base, rows[:30], rows[30:40], TrainConfig(epochs=10), seed=0)
    digest = save(base, tmp_path / "base")
    model = load(tmp_path / "base")
    report = tune(
        model,
        encode_samples(model, rows[40:50]),
        encode_samples(model, rows[:10]),
        encode_samples(model, rows[30:40]),
        ElasticConfig(epochs=3, replay_share=0.5, own_share=0.0),
        seed=0,
    )
    assert report.frozen_digest_before == report.frozen_digest_after != ""
    save_delta(model, digest, base, tmp_path / "delta")
    again = load(tmp_path / "delta", base=lambda _: tmp_path / "base")
    assert isinstance(again, SmallModel)
    one, two = predict(model, rows[50:]), predict(again, rows[50:])
    assert np.array_equal(one.probs, two.probs)
    assert one.accuracy > 0.8


def test_two_models_cannot_share_a_name() -> None:
    class Impostor(SmallModel):
        architecture = "omni"

    with pytest.raises(ValueError, match="'omni' is OmniModel already"):
        register_model(Impostor)


def test_a_model_without_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="Give at least one"):
        SmallModel([])


def test_an_unknown_task_is_refused_with_the_known_ones(model: OmniModel) -> None:
    with pytest.raises(ValueError, match="no task 'colour'; it knows shape"):
        model.task_index("colour")


@pytest.fixture
def depth() -> Iterator[None]:
    """A modality that nothing else in the code has heard of."""

    class DepthEncoder(Encoder):
        max_tokens = 4

        def __init__(self, width: int, others: Mapping[str, Encoder]) -> None:
            super().__init__()
            self.project = nn.Linear(2, width)

        def prepare(self, value: Value) -> Tensor:
            return float_tensor(value, modality="depth", ndim=2, shape="[points, 2]")[:4]

        def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return self.project(x), mask

    register_encoder("depth")(DepthEncoder)
    yield
    del ENCODERS["depth"]


@pytest.mark.usefixtures("depth")
def test_a_new_modality_is_one_registered_encoder(tmp_path: Path) -> None:
    config = ModelConfig(modalities=("depth", "text"), width=16, heads=2, ffn_width=16, segments=2)
    torch.manual_seed(0)
    model = OmniModel(config, [SHAPES])
    rng = np.random.default_rng(0)
    rows = [
        Sample(
            id=f"d{number}",
            task="shape",
            instruction="Which shape?",
            inputs={"depth": rng.normal(number % 3, 0.1, (3, 2))},
            answer=SHAPES.answers[number % 3],
        )
        for number in range(45)
    ]
    fit(model, rows[:30], rows[30:], TrainConfig(epochs=15, learning_rate=1e-2), seed=0)
    save(model, tmp_path)
    result = predict(load(tmp_path), rows[30:])
    assert result.accuracy > 0.8
    assert set(result.embeddings) == {"depth"}


def test_answers_of_tasks_share_one_vocabulary_and_keep_their_places() -> None:
    tasks = [
        TaskSpec(name="a", instructions=("A?",), answers=("yes", "no")),
        TaskSpec(name="b", instructions=("B?",), answers=("no", "maybe")),
    ]
    model = SmallModel(tasks)
    assert model.answers == ("yes", "no", "maybe")
    assert model.answer_masks().tolist() == [[True, True, False], [False, True, True]]
