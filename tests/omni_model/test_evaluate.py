"""Predictions are what they say, and asking for them changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from omni_model.calibrate import MIN_ROWS, best_temperature, calibrate
from omni_model.evaluate import predict
from omni_model.features import Batcher, encode_samples
from omni_model.model import OmniModel
from omni_model.sample import Sample, TaskSpec
from tests.omni_model.conftest import SHAPES, TINY

SIGNS = TaskSpec(name="sign", instructions=("Which sign?",), answers=("plus", "minus"))


@pytest.fixture
def two_tasks() -> OmniModel:
    torch.manual_seed(0)
    model = OmniModel(TINY, [SHAPES, SIGNS])
    model.eval()
    return model


def test_probabilities_lie_within_the_rows_task_and_sum_to_one(
    two_tasks: OmniModel, sample: Callable[..., Sample]
) -> None:
    rows = [sample(0), replace(sample(1), task="sign", answer="minus")]
    result = predict(two_tasks, rows)
    assert result.answers == ("bar", "dot", "ring", "plus", "minus")
    assert (result.probs[0, 3:] == 0).all()
    assert (result.probs[1, :3] == 0).all()
    np.testing.assert_allclose(result.probs.sum(axis=1), 1.0, rtol=1e-5)
    assert result.target.tolist() == [0, 4]


def test_the_raw_answer_is_free_to_ignore_the_instruction(two_tasks: OmniModel, sample: Callable[..., Sample]) -> None:
    with torch.no_grad():
        two_tasks.layers.head.answers.bias[4] = 100.0
    result = predict(two_tasks, [sample(0)])
    assert result.raw_answer[0] == 4
    assert result.answer[0] < 3


def test_rows_come_back_in_order_whatever_the_batch_size(model: OmniModel, samples: list[Sample]) -> None:
    whole, small = predict(model, samples), predict(model, samples, batch_rows=5)
    assert whole.ids.tolist() == [row.id for row in samples] == small.ids.tolist()
    np.testing.assert_allclose(whole.probs, small.probs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole.fused, small.fused, rtol=1e-3, atol=1e-5)


def test_features_and_samples_give_the_same_answers(model: OmniModel, samples: list[Sample]) -> None:
    one, two = predict(model, samples), predict(model, encode_samples(model, samples, batch_rows=7))
    np.testing.assert_allclose(one.probs, two.probs, rtol=1e-4, atol=1e-6)
    assert one.modalities == two.modalities == [row.modalities for row in samples]


def test_a_subset_hides_the_other_modalities(model: OmniModel, samples: list[Sample]) -> None:
    result = predict(model, samples, subset=frozenset({"text"}))
    bare = [replace(row, inputs={k: v for k, v in row.inputs.items() if k == "text"}) for row in samples]
    np.testing.assert_allclose(result.probs, predict(model, bare).probs, rtol=1e-4, atol=1e-6)
    assert set(result.modalities) == {frozenset({"text"}), frozenset()}


def test_rows_left_with_nothing_all_get_one_answer_for_one_instruction(model: OmniModel, samples: list[Sample]) -> None:
    result = predict(model, samples, subset=frozenset())
    np.testing.assert_allclose(result.probs[::2], np.broadcast_to(result.probs[0], (9, 3)), rtol=1e-4)
    assert result.embeddings == {}


def test_embeddings_are_no_number_where_the_modality_is_absent(model: OmniModel, samples: list[Sample]) -> None:
    result = predict(model, samples, batch_rows=4)
    for name, value in result.embeddings.items():
        there = np.array([name in row.inputs for row in samples])
        assert np.isfinite(value[there]).all()
        assert np.isnan(value[~there]).all()


def test_dropout_passes_are_a_function_of_the_seed(model: OmniModel, samples: list[Sample]) -> None:
    one, two = (predict(model, samples, mc_passes=3, seed=1).mc_probs for _ in range(2))
    other = predict(model, samples, mc_passes=3, seed=2).mc_probs
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.shape == (3, len(samples), 3)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_predicting_changes_neither_the_model_nor_the_random_state(model: OmniModel, samples: list[Sample]) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    predict(model, samples, mc_passes=2)
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_unlabelled_rows_have_no_target_and_no_accuracy(model: OmniModel, sample: Callable[..., Sample]) -> None:
    result = predict(model, [sample(1, labelled=False)])
    assert result.target.tolist() == [-1]
    assert np.isnan(result.accuracy)


def test_no_samples_give_empty_arrays(model: OmniModel) -> None:
    result = predict(model, [], mc_passes=2)
    assert len(result) == 0
    assert result.probs.shape == (0, 3)
    assert result.mc_probs is not None


def test_time_is_shared_among_the_rows_of_a_batch(model: OmniModel, samples: list[Sample]) -> None:
    ticks = iter([10.0, 13.6])
    result = predict(model, samples, clock=lambda: next(ticks))
    np.testing.assert_allclose(result.latency_s, 0.2, rtol=1e-5)


def test_a_higher_temperature_lowers_confidence_and_keeps_the_answers(model: OmniModel, samples: list[Sample]) -> None:
    cold = predict(model, samples)
    model.temperature = 10.0
    warm = predict(model, samples)
    assert (cold.answer == warm.answer).all()
    assert (warm.confidence < cold.confidence).all()


def test_the_temperature_is_the_one_that_made_the_targets() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=rng, dtype=torch.float64) * 3
    target = torch.multinomial((logits / 2.0).softmax(dim=1), 1, generator=rng)[:, 0]
    assert best_temperature(logits, target) == pytest.approx(2.0, rel=0.05)


def test_a_temperature_by_combination_is_fitted_where_there_are_rows_enough(
    model: OmniModel, samples: list[Sample]
) -> None:
    rows = encode_samples(model, [replace(row, id=f"{row.id}-{copy}") for copy in range(60) for row in samples])
    rows = rows.select(rows.labelled)
    calibrate(model, Batcher(model, rows), by_subset=True)
    have = Counter("+".join(sorted(row)) for row in rows.modalities)
    assert model.temperatures
    for name, value in model.temperatures.items():
        wanted = set(name.split("+"))
        assert sum(num for told, num in have.items() if wanted <= set(told.split("+"))) >= MIN_ROWS
        shown = predict(model, rows, subset=frozenset(wanted))
        there = [at for at, row in enumerate(rows.modalities) if wanted <= row]
        own = -np.log(shown.probs[there, shown.target[there]]).mean()
        kept, model.temperatures = model.temperatures, {}
        whole = predict(model, rows, subset=frozenset(wanted))
        model.temperatures = kept
        assert own <= -np.log(whole.probs[there, whole.target[there]]).mean() + 1e-4
        assert value > 0
    calibrate(model, Batcher(model, rows))
    assert model.temperatures == {}


def test_each_row_takes_the_temperature_of_what_it_has(model: OmniModel, samples: list[Sample]) -> None:
    plain = predict(model, samples)
    name = "+".join(sorted(plain.modalities[0]))
    model.temperatures = {name: 5.0}
    after = predict(model, samples)
    for row, there in enumerate(plain.modalities):
        same = np.allclose(plain.probs[row], after.probs[row], atol=1e-6)
        assert same == ("+".join(sorted(there)) != name)
