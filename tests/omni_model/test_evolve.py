"""Architectures that share weights, and the space that they come from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from omni_model.config import ElasticConfig, ModelConfig
from omni_model.evolve import TooSlow, Worth, changes, latency_share, propose, worth
from omni_model.evolve_config import EvolveConfig
from omni_model.features import Batcher, FeatureSet, encode_samples
from omni_model.inherit import child_of, tokens_for
from omni_model.model import OmniModel
from omni_model.sample import Sample
from tests.omni_model.conftest import SHAPES, TINY, make_sample

SHORT = EvolveConfig(trials=2, epochs=1, latency_rows=1, latency_repeats=1, latency_share=100.0)


@pytest.fixture
def rows(samples: list[Sample], model: OmniModel) -> FeatureSet:
    return encode_samples(model, samples)


def logits(model: OmniModel, rows: FeatureSet) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(Batcher(model, rows)(torch.arange(len(rows)))).logits
    return out


@pytest.mark.parametrize(
    "changed",
    [{}, {"layers": 2}, {"within_layers": 2}, {"ffn_width": 48}, {"scale": "head"}, {"layers": 3, "ffn_width": 32}],
)
def test_a_child_that_is_deeper_wider_or_scaled_otherwise_answers_as_its_parent(
    model: OmniModel, rows: FeatureSet, changed: dict[str, Any]
) -> None:
    child = child_of(model, replace(model.config, **changed))
    torch.testing.assert_close(logits(child, tokens_for(child, model, rows)), logits(model, rows), atol=1e-5, rtol=0)


def test_a_child_with_fewer_modalities_answers_as_the_parent_that_is_shown_only_those(
    model: OmniModel, rows: FeatureSet, samples: list[Sample]
) -> None:
    child = child_of(model, replace(model.config, modalities=("text", "audio"), ignores=("image",), scale="head"))
    expected = logits(model, rows.only(["text", "audio"]))
    torch.testing.assert_close(logits(child, tokens_for(child, model, rows)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits(child, encode_samples(child, samples)), expected, atol=1e-5, rtol=0)


def test_tokens_of_other_encoders_are_not_shared(model: OmniModel, rows: FeatureSet) -> None:
    child = child_of(model, model.config)
    with torch.no_grad():
        next(child.encoders.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="encoders differ"):
        tokens_for(child, model, rows)


@pytest.mark.parametrize("changed", [{"width": 32}, {"heads": 4}, {"attention": "joint"}])
def test_what_encoders_cannot_be_shared_over_is_refused(model: OmniModel, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must stay"):
        child_of(model, replace(model.config, **changed))


def test_the_first_choices_are_the_present_architecture() -> None:
    for present in (ModelConfig(), TINY, replace(TINY, layers=3, segments=5)):
        assert propose(lambda name, choices: choices[0], present) == present


def test_whatever_is_picked_gives_an_architecture_that_can_be_built_and_takes_every_sample() -> None:
    rng = random.Random(0)
    whole = make_sample(0)
    for _ in range(25):
        picked: dict[str, Any] = {}

        def pick(name: str, choices: Sequence[Any], picked: dict[str, Any] = picked) -> Any:
            return picked.setdefault(name, rng.choice(choices))

        config = propose(pick, TINY)
        assert {*config.modalities, *config.ignores} == set(TINY.modalities)
        assert config.modalities
        OmniModel(config, [SHAPES]).prepare(whole)


def test_an_architecture_that_takes_too_long_is_not_trained(model: OmniModel, rows: FeatureSet) -> None:
    def judged(config: ModelConfig, evolve: EvolveConfig) -> Worth:
        return worth(model, config, rows, rows, [make_sample(0)], evolve, ElasticConfig(), seed=0)

    before = {name: value.clone() for name, value in model.state_dict().items()}
    deeper = replace(TINY, layers=2)
    with pytest.raises(TooSlow):
        judged(deeper, replace(SHORT, latency_share=1e-9))
    made = judged(deeper, SHORT)
    assert made.samples_seen == len(rows)
    assert judged(TINY, replace(SHORT, latency_share=1e-9)).parameters < made.parameters
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_share_of_time_is_that_of_the_least_of_each_in_turns(model: OmniModel) -> None:
    ticks = iter([0, 9, 10, 12, 20, 24, 30, 39])  # child 9, parent 2; child 4, parent 9
    evolve = replace(SHORT, latency_repeats=2)
    child = child_of(model, TINY)
    assert latency_share(child, model, [make_sample(0)], evolve, clock=lambda: float(next(ticks))) == 2.0


def test_changes_are_told_by_field() -> None:
    assert changes(TINY, replace(TINY, layers=2, links={"1.text>audio": 0.0})) == {
        "layers": 2,
        "links": {"1.text>audio": 0.0},
    }


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"latency_share": 0.0}, {"min_gain": 2.0}])
def test_a_search_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EvolveConfig(**wrong)
