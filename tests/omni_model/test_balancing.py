"""Published methods against modality bias equal their formulas, and training with them resumes and learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from omni_model.balance_config import BalanceConfig
from omni_model.balancing import factors_of, gradnorm_weights, hold_back, pareto_backward, pareto_direction
from omni_model.config import DwaConfig, TrainConfig
from omni_model.dwa import DwaState
from omni_model.epochs import discard
from omni_model.losses import CROSS, own_losses_alone
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.steps import own_parameters
from omni_model.train import fit
from tests.omni_model.conftest import SHAPES, make_sample
from tests.omni_model.small_model import SmallModel
from tests.omni_model.test_training import FIT, Killed, fresh, kill_after, same_weights

METHODS = [
    BalanceConfig(method="gradnorm"),
    BalanceConfig(method="ogm_ge", alpha=0.3),
    BalanceConfig(method="pareto"),
    BalanceConfig(alone_share=0.4),
]


@pytest.fixture
def rows() -> list[Sample]:
    return [make_sample(number) for number in range(24)]


def test_gradnorm_pulls_equal_gradients_nowhere_and_keeps_the_sum() -> None:
    ones = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert gradnorm_weights(ones, ones, ones, BalanceConfig()) == pytest.approx(ones)
    moved = gradnorm_weights(ones, {"a": 9.0, "b": 1.0, "c": 1.0}, ones, BalanceConfig())
    assert moved["a"] < moved["b"] == moved["c"]
    assert sum(moved.values()) == pytest.approx(3.0)


def test_gradnorm_raises_a_loss_that_lags() -> None:
    ones = {"a": 1.0, "b": 1.0}
    moved = gradnorm_weights(ones, ones, {"a": 1.0, "b": 0.2}, BalanceConfig())
    assert moved["a"] > moved["b"]


def test_gradnorm_comes_to_rest_where_weighted_gradients_are_alike() -> None:
    norms, rates = {"a": 4.0, "b": 1.0}, {"a": 1.0, "b": 1.0}
    weights = {"a": 1.0, "b": 1.0}
    for _ in range(2000):
        weights = gradnorm_weights(weights, norms, rates, BalanceConfig(rate=0.001))
    assert weights["a"] * 4.0 == pytest.approx(weights["b"] * 1.0, rel=0.05)


def test_ogm_holds_back_the_modality_that_is_ahead_by_the_printed_formula() -> None:
    factors = factors_of({"text": 0.9, "image": 0.3, "audio": 0.3}, alpha=0.2)
    assert factors["text"] == pytest.approx(1 - math.tanh(0.2 * 0.9 / 0.3))
    assert factors["image"] == factors["audio"] == 1.0
    assert factors_of({"text": 0.9}, alpha=1.0) == {"text": 1.0}


def test_gradients_that_are_held_back_are_scaled_and_noisy_and_others_stay() -> None:
    own = {name: [nn.Parameter(torch.zeros(4000))] for name in ("text", "image")}
    for (parameter,) in own.values():
        parameter.grad = torch.linspace(-1, 1, 4000)
    hold_back(own, {"text": 0.5, "image": 1.0}, torch.Generator().manual_seed(0))
    held, free = own["text"][0].grad, own["image"][0].grad
    assert held is not None and free is not None  # noqa: PT018
    assert torch.equal(free, torch.linspace(-1, 1, 4000))
    left = 0.5 * torch.linspace(-1, 1, 4000)
    assert float((held - left).std()) == pytest.approx(float(left.std()), rel=0.05)
    assert abs(float((held - left).mean())) < 0.02


def test_pareto_sums_what_agrees_and_never_hurts_either_of_what_does_not() -> None:
    one, two = torch.tensor([1.0, 0.5]), torch.tensor([0.5, 1.0])
    torch.testing.assert_close(pareto_direction(one, two, 1.0), one + two)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        one, two = torch.randn(6, generator=rng), torch.randn(6, generator=rng)
        made = pareto_direction(one, two, 1.0)
        assert float(made.norm()) >= float((one + two).norm()) - 1e-5
        if one @ two < 0:
            assert float(made @ one) >= -1e-4
            assert float(made @ two) >= -1e-4


def test_pareto_leaves_the_plain_sum_outside_a_modalitys_own_parameters() -> None:
    own, shared = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0]))
    fused, alone = (own * shared).sum(), -(own.square() * shared).sum()
    expected = torch.autograd.grad(fused + alone, [shared], retain_graph=True)[0]
    parts = [torch.autograd.grad(loss, [own], retain_graph=True)[0] for loss in (fused, alone)]
    pareto_backward(fused, alone, [own, shared], {"text": [own]}, 1.0)
    assert shared.grad is not None
    torch.testing.assert_close(shared.grad, expected)
    assert own.grad is not None
    torch.testing.assert_close(own.grad, pareto_direction(parts[0], parts[1], 1.0))


def test_a_modality_learns_alone_without_the_fused_loss() -> None:
    parts = {CROSS: torch.tensor(1.0), "text": torch.tensor(2.0)}
    assert list(own_losses_alone(parts)) == ["text"]
    assert list(own_losses_alone({CROSS: torch.tensor(1.0)})) == [CROSS]


@pytest.mark.parametrize("balance", METHODS, ids=lambda each: each.method)
def test_a_killed_training_goes_on_bit_for_bit_under_every_method(
    balance: BalanceConfig, rows: list[Sample], tmp_path: Path
) -> None:
    config = replace(FIT, epochs=4, balance=balance)
    whole, cut = fresh(), fresh()
    report = fit(whole, rows[:16], rows[16:], config, seed=1)
    with pytest.raises(Killed):
        fit(cut, rows[:16], rows[16:], config, seed=1, on_epoch=kill_after(3), checkpoint_dir=tmp_path)
    cut = fresh()
    fit(cut, rows[:16], rows[16:], config, seed=1, on_epoch=discard, checkpoint_dir=tmp_path)
    assert same_weights(whole, cut)
    assert report.history[-1]["train_loss"] < report.history[0]["train_loss"] * 1.5
    plain = fresh()
    fit(plain, rows[:16], rows[16:], replace(FIT, epochs=4), seed=1)
    assert not same_weights(whole, plain)


def test_each_modalitys_own_parameters_serve_no_other() -> None:
    model = fresh()
    own = own_parameters(model, dict(model.named_parameters()))
    places = [{id(parameter) for parameter in parameters} for parameters in own.values()]
    assert all(places)
    assert not set.intersection(*places)


def test_a_model_that_names_nothing_as_a_modalitys_own_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"SmallModel does not say.*Set `own`"):
        own_parameters(SmallModel([SHAPES]), {})


def test_the_rate_factor_is_the_mean_weight() -> None:
    state = DwaState(DwaConfig())
    assert state.rate_factor == 1.0
    state.weights = {"a": 0.5, "b": 0.7}
    assert state.take(["a", "b"]) == {"a": 0.5, "b": 0.7}
    state.weights = {"a": 0.9, "b": 0.9}
    state.take(["a", "b"])
    assert state.rate_factor == pytest.approx((0.6 + 0.9) / 2)
    assert state.step == 2


def test_the_articles_weights_lower_the_learning_rate_and_normalised_ones_do_not(rows: list[Sample]) -> None:
    factors = {}
    for name, dwa in (("article", DwaConfig()), ("normalised", DwaConfig(normalise=True))):
        model: OmniModel = fresh()
        report = fit(model, rows, [], replace(FIT, epochs=2, loss="dwa", dwa=dwa), seed=1)
        factors[name] = report.rate_factor
    assert 0.4 < factors["article"] < 0.9
    assert factors["normalised"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "settings", [{"method": "loud"}, {"alpha": 0.0}, {"rate": math.nan}, {"rescale": -1.0}, {"alone_share": 1.0}]
)
def test_what_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        BalanceConfig(**settings)  # type: ignore[arg-type]


def test_two_ways_to_weigh_the_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="Choose one"):
        TrainConfig(loss="dwa", balance=BalanceConfig(method="gradnorm"))
