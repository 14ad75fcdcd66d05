"""A light model says what the full one says with the same modalities, and is really smaller."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from omni_model.checkpoint import load, save
from omni_model.distil import DistilConfig, distil, visible
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.submodel import num_bytes, submodel
from tests.omni_model.conftest import SHAPES, TINY, make_sample
from tests.omni_model.small_model import SmallModel
from tests.omni_model.test_model import logits, stirred

SUBSETS = [list(names) for count in (1, 2, 3) for names in combinations(("text", "image", "audio"), count)]

FORMS = [
    *(("dcma", "article"), ("dcma", "head"), ("joint", "article"), ("seed", "head")),
    *(("multiway", "article"), ("gated", "article"), ("late", "article")),
]


def full_model(**changes: object) -> OmniModel:
    torch.manual_seed(0)
    model = stirred(OmniModel(replace(TINY, **changes), [SHAPES]))  # type: ignore[arg-type]
    model.temperature = 1.7
    return model.eval()


@pytest.mark.parametrize("modalities", SUBSETS)
@pytest.mark.parametrize("form", FORMS)
def test_it_answers_as_the_full_model_does_without_the_other_modalities(
    modalities: list[str], form: tuple[str, str], samples: list[Sample]
) -> None:
    model = full_model(attention=form[0], scale=form[1], layers=2)
    light = submodel(model, modalities)
    rows = visible(light, samples)
    torch.testing.assert_close(logits(light, rows), logits(model, rows), rtol=1e-4, atol=1e-5)
    assert predict(light, rows).probs == pytest.approx(predict(model, rows).probs, abs=1e-5)


def test_it_keeps_the_first_layers_and_shares_no_weights(samples: list[Sample]) -> None:
    model = full_model(layers=3)
    light = submodel(model, layers=1)
    assert len(light.layers.across) == 1
    before = logits(model, samples)
    with torch.no_grad():
        for parameter in light.parameters():
            parameter.zero_()
    assert torch.equal(logits(model, samples), before)


def test_what_is_left_out_is_gone_from_the_file(tmp_path: Path) -> None:
    model = full_model(layers=3)
    light = submodel(model, ["text", "image"], 1)
    for name, each in (("full", model), ("light", light)):
        save(each, tmp_path / name)
    sizes = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "light")}
    assert sizes["light"] < 0.6 * sizes["full"]
    assert not [name for name in light.state_dict() if "audio" in name]
    assert num_bytes(light.state_dict()) < sizes["light"]
    again = load(tmp_path / "light")
    assert again.describe() == light.describe()


def test_what_cannot_be_cut_is_refused_with_a_mend() -> None:
    model = full_model()
    with pytest.raises(ValueError, match=r"no modality video.*Name some"):
        submodel(model, ["text", "video"])
    with pytest.raises(ValueError, match=r"has 1 layers.*got 2.*Keep 1 to 1"):
        submodel(model, layers=2)
    with pytest.raises(ValueError, match=r"none can be left out.*scale='head'"):
        submodel(full_model(attention="seed"), ["text"])
    with pytest.raises(ValueError, match=r"SmallModel cannot be cut down.*Export it whole"):
        submodel(SmallModel([SHAPES]), ["text"])
    with pytest.raises(ValueError, match=r"Late fusion has no layers across.*layers=0"):
        submodel(full_model(attention="late", layers=2), layers=1)


def test_teaching_brings_a_light_model_nearer_to_the_full_one() -> None:
    rows = [make_sample(number, labelled=False) for number in range(60)]
    held_out = [make_sample(number) for number in range(100, 130)]
    model = full_model(layers=2)
    light = submodel(model, ["text", "image"], 1)
    frozen = {name: value.clone() for name, value in light.encoders.state_dict().items()}
    taught = distil(light, model, rows, held_out, DistilConfig(epochs=8, learning_rate=3e-3))
    assert taught.num_rows == 60
    assert taught.loss_after < 0.7 * taught.loss_before
    assert all(torch.equal(value, frozen[name]) for name, value in light.encoders.state_dict().items())


def test_teaching_is_the_same_for_the_same_seed() -> None:
    rows = [make_sample(number) for number in range(30)]
    states = []
    for _ in range(2):
        model = full_model(layers=2)
        light = submodel(model, ["audio"], 1)
        distil(light, model, rows, rows, DistilConfig(epochs=2))
        states.append(light.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_teaching_without_anything_visible_changes_nothing() -> None:
    model = full_model(layers=2)
    light = submodel(model, ["audio"], 1)
    before = {name: value.clone() for name, value in light.state_dict().items()}
    taught = distil(light, model, [make_sample(1, modalities=["text"])], [])
    assert taught.num_rows == 0
    assert taught.best_epoch == 0
    assert all(torch.equal(before[name], value) for name, value in light.state_dict().items())
