"""Measuring is right where the truth is known, and asks no more of a model than the protocol does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.msn.config import MsnConfig
from omni_model.msn.measuring import Timed, answer, as_sum, encoded, measure, right_by_subset, situations
from omni_model.msn.selector import subsets_of
from omni_model.sample import Sample
from tests.omni_model.conftest import SHAPES, make_sample
from tests.omni_model.small_model import SmallModel

MODALITIES = ("audio", "image", "text")
QUICK = MsnConfig(min_rows=1, cost_rows=2, batch_rows=4, cost_repeats=1)


class Ticks:
    """A clock by which everything takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_every_subset_is_scored_as_the_model_answers_it(model: OmniModel, samples: list[Sample]) -> None:
    right = right_by_subset(model, samples, MODALITIES)
    for subset in subsets_of(MODALITIES):
        direct = predict(model, samples, subset=subset)
        assert (right[subset] == (direct.answer == direct.target)).all()


def test_the_served_way_gives_the_answers_that_predict_gives(model: OmniModel, samples: list[Sample]) -> None:
    """Rows of every mix of modalities in one batch, and with a part of them hidden; sound is rounded to 16 bits."""
    rows = [Timed(sample=sample, content=encoded(sample)) for sample in samples]
    np.testing.assert_allclose(answer(model, rows).numpy(), predict(model, samples).probs, atol=2e-3)
    subset = frozenset({"text", "image"})
    hidden = answer(model, [row.only(subset) for row in rows]).numpy()
    np.testing.assert_allclose(hidden, predict(model, samples, subset=subset).probs, atol=2e-3)


def test_a_situation_scores_its_subsets_on_the_same_rows(samples: list[Sample]) -> None:
    right = {subset: np.arange(len(samples)) % 2 == 0 for subset in subsets_of(MODALITIES)}
    found = {row.available: row for row in situations(samples, right, MODALITIES, MsnConfig(min_rows=1))}
    for available, row in found.items():
        assert row.num_rows == sum(available <= sample.modalities for sample in samples)
        assert row.num_exact == sum(available == sample.modalities for sample in samples)
        assert [one.subset for one in row.scored] == subsets_of(available)
        assert all(0 <= one.accuracy <= 1 and one.error > 0 for one in row.scored)


def test_few_rows_with_exactly_these_modalities_are_drawn_towards_all_rows() -> None:
    rows = [make_sample(number) for number in range(30)] + [make_sample(30, modalities=("text",))]
    right = {subset: np.array([True] * 15 + [False] * 15 + [True]) for subset in subsets_of(MODALITIES)}
    config = MsnConfig(min_rows=1, prior_rows=30)
    found = {row.available: row for row in situations(rows, right, MODALITIES, config)}
    (text,) = found[frozenset({"text"})].scored
    assert text.accuracy == pytest.approx((1 + 30 * 16 / 31) / 31)
    bare = {row.available: row for row in situations(rows, right, MODALITIES, replace(config, prior_rows=0))}
    assert bare[frozenset({"text"})].scored[0].accuracy == 1.0


def test_a_situation_with_too_few_rows_is_not_believed(samples: list[Sample]) -> None:
    right = {subset: np.ones(len(samples), dtype=bool) for subset in subsets_of(MODALITIES)}
    assert situations(samples, right, MODALITIES, MsnConfig(min_rows=len(samples) + 1)) == ()


def test_a_cost_that_is_no_sum_still_has_no_negative_part() -> None:
    times = {frozenset[str](): 2.0, frozenset({"a"}): 1.0, frozenset({"a", "b"}): 5.0}
    parts = as_sum(times, ["a", "b", "c"])
    assert parts.fixed_s >= 0
    assert set(parts.each_s) == {"a", "b"}
    assert min(parts.each_s.values()) >= 0


@pytest.mark.parametrize("small", [False, True])
def test_measuring_works_with_any_model_and_leaves_it_as_it_was(
    model: OmniModel, samples: list[Sample], small: bool
) -> None:
    measured = SmallModel([SHAPES]) if small else model
    measured.train()
    before = {name: value.clone() for name, value in measured.state_dict().items()}
    rows = [sample for sample in samples if sample.inputs]
    table = measure(measured, rows, QUICK, clock=Ticks())
    assert measured.training
    assert all(torch.equal(value, before[name]) for name, value in measured.state_dict().items())
    assert table.modalities == MODALITIES
    assert table.costs["shape"].alone.of({"text"}) == pytest.approx(1.0)
    assert {row.available for row in table.situations} == set(subsets_of(MODALITIES))


def test_measuring_twice_scores_the_same(model: OmniModel, samples: list[Sample]) -> None:
    first, second = (measure(model, samples, QUICK, clock=Ticks()) for _ in range(2))
    assert first == second


def test_a_modality_that_one_task_lacks_costs_it_what_it_costs_the_others(
    samples: list[Sample], sample: Callable[..., Sample]
) -> None:
    other = replace(SHAPES, name="other")
    model = SmallModel([SHAPES, other])
    only_text = [replace(sample(100 + n, modalities=("text",)), task="other") for n in range(3)]
    table = measure(model, [*samples, *only_text], QUICK)
    assert table.costs["other"].alone.each_s["audio"] == table.costs["shape"].alone.each_s["audio"]


def test_what_cannot_be_measured_is_told(model: OmniModel, sample: Callable[..., Sample]) -> None:
    with pytest.raises(ValueError, match="Label validation samples"):
        measure(model, [sample(1, labelled=False)])
    with pytest.raises(ValueError, match="Label validation samples"):
        measure(model, [])
    many = [replace(sample(n), inputs={f"sense{n}": "x"}) for n in range(7)]
    with pytest.raises(ValueError, match="7 modalities"):
        measure(model, many)


def test_real_time_is_above_zero_and_more_modalities_cost_no_less(model: OmniModel, samples: list[Sample]) -> None:
    costs = measure(model, samples, QUICK).costs["shape"]
    for subset in subsets_of(MODALITIES):
        for parts in (costs.alone, costs.batched):
            assert 0 < parts.of(subset) <= parts.of(MODALITIES)
