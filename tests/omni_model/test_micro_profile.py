"""The micro-profiler keeps to its budget and to the interaction layers, and leaves the model alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from omni_model.balance_config import BalanceConfig
from omni_model.config import ElasticConfig
from omni_model.elastic import moving_paths, tune
from omni_model.features import FeatureSet, encode_samples
from omni_model.freeze import digest, frozen_names, is_under, tensors
from omni_model.micro_profile import Profile, extrapolate, micro_profile
from omni_model.model import OmniModel
from omni_model.profile_config import ProfileConfig
from tests.omni_model.conftest import SHAPES, make_sample
from tests.omni_model.small_model import SmallModel

Sets = tuple[FeatureSet, FeatureSet, FeatureSet]


@dataclass
class Ticks:
    """A clock that goes on by a second each time it is read."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def config(budget: float, *, epochs: int = 20, time_share: float = 1.0) -> ElasticConfig:
    profile = ProfileConfig(budget_seconds=budget, rows_share=0.5, epochs=2, time_share=time_share)
    return ElasticConfig(epochs=epochs, batch_rows=16, profile=profile)


@pytest.fixture
def sets(model: OmniModel) -> Sets:
    rows = [make_sample(number) for number in range(40)]
    return encode_samples(model, rows[:20]), encode_samples(model, rows[20:28]), encode_samples(model, rows[28:])


def test_all_interaction_layers_are_tried_first_and_then_less(model: OmniModel, sets: Sets) -> None:
    profile = micro_profile(model, *sets, config(1000.0), seed=0, clock=Ticks())
    assert [trial.moving for trial in profile.trials] == list(reversed(model.depths))
    assert profile.fits
    assert profile.predicted == max(trial.predicted for trial in profile.trials)


def test_no_trial_is_begun_that_would_leave_the_trials_share(model: OmniModel, sets: Sets) -> None:
    profile = micro_profile(model, *sets, config(1000.0, time_share=0.001), seed=0, clock=Ticks())
    assert [trial.moving for trial in profile.trials] == [model.interaction]


def test_the_epochs_chosen_fit_in_what_the_trials_leave(model: OmniModel, sets: Sets) -> None:
    profile = micro_profile(model, *sets, config(12.0), seed=0, clock=Ticks())
    for trial in profile.trials:
        assert trial.epoch_seconds == trial.trial_seconds / 2  # so few rows that a trial sees all of them
        assert profile.seconds + trial.epochs * trial.epoch_seconds <= 12.0
        assert profile.seconds + (trial.epochs + 1) * trial.epoch_seconds > 12.0


def test_no_more_epochs_are_chosen_than_are_set(model: OmniModel, sets: Sets) -> None:
    assert micro_profile(model, *sets, config(1e9, epochs=4), seed=0, clock=Ticks()).epochs == 4


def test_a_budget_that_nothing_fits_takes_one_epoch_and_says_so(model: OmniModel, sets: Sets) -> None:
    profile = micro_profile(model, *sets, config(0.5), seed=0, clock=Ticks())
    assert (profile.fits, profile.epochs) == (False, 1)
    assert profile.seconds > profile.budget_seconds


def test_a_trial_of_a_share_costs_and_promises_less_than_the_whole(model: OmniModel) -> None:
    rows = encode_samples(model, [make_sample(number) for number in range(400)])
    new, val = rows.select(range(320)), rows.select(range(320, 400))
    profile = micro_profile(model, new, new.select([]), val, config(1000.0), seed=0, clock=Ticks())
    for trial in profile.trials:
        assert trial.epoch_seconds == pytest.approx(2 * trial.trial_seconds / 2)  # half the rows, two epochs


def test_the_model_is_left_as_it_was(model: OmniModel, sets: Sets) -> None:
    before, temperature = digest(model, tensors(model)), model.temperature
    micro_profile(model, *sets, config(1000.0), seed=0, clock=Ticks())
    assert (digest(model, tensors(model)), model.temperature) == (before, temperature)


def test_the_same_clock_and_seed_choose_alike(model: OmniModel, sets: Sets) -> None:
    several = [micro_profile(model, *sets, config(1000.0), seed=1, clock=Ticks()) for _ in range(2)]
    assert several[0] == several[1]


def test_a_learning_model_is_promised_to_learn(model: OmniModel, sets: Sets) -> None:
    settings = replace(config(1000.0), learning_rate=0.03)
    profile = micro_profile(model, *sets, settings, seed=0, clock=Ticks())
    best = profile.trials[0]
    assert max(best.accuracies) > best.accuracies[0]
    assert best.predicted >= max(best.accuracies) - 0.1


@pytest.mark.parametrize("depth", range(3))
@pytest.mark.parametrize(
    "changes", [{}, {"loss": "dwa"}, *({"balance": BalanceConfig(method=m)} for m in ("gradnorm", "ogm_ge", "pareto"))]
)
def test_every_depth_moves_itself_alone_whatever_balances(
    model: OmniModel, sets: Sets, depth: int, changes: dict[str, Any]
) -> None:
    moving = model.depths[depth]
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    report = tune(model, *sets, ElasticConfig(epochs=1, only=moving, **changes), seed=0)
    moved = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(is_under(name, moving) for name in moved)
    assert report.frozen_digest_before == report.frozen_digest_after == digest(model, frozen_names(model, moving))


def test_depths_are_nested_and_end_with_all_interaction_layers(model: OmniModel) -> None:
    for smaller, larger in zip(model.depths, model.depths[1:], strict=False):
        assert all(is_under(path, larger) for path in smaller)
    assert model.depths[-1] == model.interaction


def test_a_model_without_depths_has_one_choice() -> None:
    torch.manual_seed(0)
    other = SmallModel([SHAPES])
    rows = encode_samples(other, [make_sample(number) for number in range(30)])
    profile = micro_profile(
        other, rows.select(range(20)), rows.select([]), rows.select(range(20, 30)), config(1000.0), seed=0
    )
    assert profile.moving == other.interaction


def test_what_is_chosen_is_what_tuning_does(model: OmniModel, sets: Sets) -> None:
    profile = Profile(
        moving=("layers.head",), epochs=2, predicted=0.5, seconds=1.0, budget_seconds=2.0, fits=True, trials=()
    )
    chosen = profile.apply(config(2.0))
    report = tune(model, *sets, chosen, seed=0)
    assert moving_paths(model, chosen) == ("layers.head",)
    assert report.epochs == 2
    assert report.trained_parameters == sum(p.numel() for p in model.layers.head.parameters())


def test_rows_without_validation_answers_are_refused(model: OmniModel, sets: Sets) -> None:
    with pytest.raises(ValueError, match="validation rows"):
        micro_profile(model, sets[0], sets[1], sets[2].select([]), config(10.0), seed=0)


def test_rows_that_are_new_need_answers(model: OmniModel, sets: Sets) -> None:
    with pytest.raises(ValueError, match="No new row has an answer"):
        micro_profile(model, sets[0].select([]), sets[1], sets[2], config(10.0), seed=0)


@pytest.mark.parametrize("changes", [{"mode": "full"}, {"also": ("encoders.text",)}, {"only": ("layers.head",)}])
def test_a_budget_chooses_among_the_interaction_layers_only(
    model: OmniModel, sets: Sets, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="among the interaction layers"):
        micro_profile(model, *sets, replace(config(10.0), **changes), seed=0)


def test_without_a_budget_there_is_nothing_to_choose_for(model: OmniModel, sets: Sets) -> None:
    with pytest.raises(ValueError, match=r"profile\.budget_seconds"):
        micro_profile(model, *sets, ElasticConfig(), seed=0)


def test_only_stays_below_the_interaction_layers(model: OmniModel) -> None:
    with pytest.raises(ValueError, match=r"encoders\.text is no interaction layer"):
        moving_paths(model, ElasticConfig(only=("encoders.text",)))


@pytest.mark.parametrize("changes", [{"mode": "full"}, {"also": ("encoders.text",)}])
def test_only_and_more_contradict_each_other(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Set one of them"):
        ElasticConfig(only=("layers.head",), **changes)


@pytest.mark.parametrize(
    ("name", "value"), [("budget_seconds", 0.0), ("time_share", 0.0), ("rows_share", 1.5), ("epochs", 1)]
)
def test_odd_settings_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"profile\.{name} must"):
        ProfileConfig(**{name: value})  # type: ignore[arg-type]


def test_more_epochs_never_promise_less() -> None:
    promised = [extrapolate([0.5, 0.6, 0.68, 0.7], epochs) for epochs in (1, 2, 4, 8, 16)]
    assert promised == sorted(promised)


def test_a_model_that_knows_all_is_promised_to_stay() -> None:
    assert extrapolate([1.0, 1.0, 1.0], 5) == 1.0


def test_a_trial_ends_with_the_epoch_that_passes_its_share(model: OmniModel, sets: Sets) -> None:
    (trial,) = micro_profile(model, *sets, config(1000.0, time_share=0.001), seed=0, clock=Ticks()).trials
    assert len(trial.accuracies) == 2  # before, and after one epoch of two
    assert trial.epoch_seconds == trial.trial_seconds
