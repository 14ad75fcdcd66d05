"""What the whole model promises about its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from omni_model.config import ModelConfig
from omni_model.evaluate import predict
from omni_model.features import Batcher, encode_samples
from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION
from omni_model.sample import Sample, TaskSpec
from tests.omni_model.conftest import SHAPES, TINY


def logits(model: OmniModel, rows: Sequence[Sample]) -> torch.Tensor:
    with torch.no_grad():
        batch = Batcher(model, encode_samples(model, rows))(torch.arange(len(rows)))
        out: torch.Tensor = model(batch).logits
    return out


def stirred(model: OmniModel) -> OmniModel:
    """Zero-initialised parts get values, so that they cannot hide a fault."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return model


@pytest.mark.parametrize("attention", ["dcma", "joint", "seed", "multiway", "gated", "late"])
def test_a_row_does_not_depend_on_the_rows_beside_it(samples: list[Sample], attention: str) -> None:
    torch.manual_seed(0)
    model = OmniModel(replace(TINY, attention=attention), [SHAPES])  # type: ignore[arg-type]
    model.eval()
    stirred(model)
    together = logits(model, samples)
    alone = torch.cat([logits(model, [row]) for row in samples])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_an_absent_modality_is_the_same_as_one_that_was_never_there(
    model: OmniModel, sample: Callable[..., Sample]
) -> None:
    stirred(model)
    with_all, without = sample(4), sample(4, modalities=("text", "audio"))
    features = encode_samples(model, [with_all, sample(5)]).without({"image"})
    with torch.no_grad():
        hidden = model(Batcher(model, features)(torch.tensor([0]))).logits
    torch.testing.assert_close(hidden, logits(model, [without]))


def test_a_black_image_and_silence_are_not_the_same_as_absence(model: OmniModel, sample: Callable[..., Sample]) -> None:
    row = sample(1, modalities=("text",))
    black = replace(row, inputs={**row.inputs, "image": np.zeros((8, 8, 3), dtype=np.uint8)})
    silent = replace(row, inputs={**row.inputs, "audio": np.zeros(4000, dtype=np.float32)})
    plain = logits(model, [row])
    assert not torch.allclose(plain, logits(model, [black]))
    assert not torch.allclose(plain, logits(model, [silent]))


def test_a_sample_with_nothing_still_gets_an_answer(model: OmniModel, sample: Callable[..., Sample]) -> None:
    empty = sample(1, modalities=())
    assert torch.isfinite(logits(model, [empty, sample(2)])).all()
    blank = replace(sample(1, modalities=("text",)), inputs={"text": ""}, instruction="")
    assert torch.isfinite(logits(model, [blank])).all()


def test_gradients_are_finite_when_rows_lack_everything(model: OmniModel, sample: Callable[..., Sample]) -> None:
    features = encode_samples(model, [sample(0, modalities=()), sample(1, modalities=("audio",))])
    batch = Batcher(model, features)(torch.arange(2))
    model(batch).logits.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_instruction_changes_the_answer(model: OmniModel, sample: Callable[..., Sample]) -> None:
    stirred(model)
    row = sample(1)
    assert not torch.allclose(logits(model, [row]), logits(model, [replace(row, instruction="What colour?")]))


def test_an_embedding_is_made_from_its_own_modality_alone(model: OmniModel, sample: Callable[..., Sample]) -> None:
    stirred(model)
    both = predict(model, [sample(3)]).embeddings["audio"]
    alone = predict(model, [sample(3)], subset=frozenset({"audio"})).embeddings["audio"]
    np.testing.assert_allclose(both, alone, rtol=1e-5, atol=1e-6)


def test_a_new_task_leaves_known_answers_and_frozen_parts_as_they_are(
    model: OmniModel, sample: Callable[..., Sample]
) -> None:
    rows = [sample(number) for number in range(4)]
    before, frozen = logits(model, rows), {name: p.clone() for name, p in model.encoders.named_parameters()}
    features = encode_samples(model, rows)
    model.add_task(TaskSpec(name="sign", instructions=("Which sign?",), answers=("plus", "dot", "minus")))
    assert model.answers == ("bar", "dot", "ring", "plus", "minus")
    torch.testing.assert_close(logits(model, rows)[:, :3], before)
    assert all(torch.equal(p, frozen[name]) for name, p in model.encoders.named_parameters())
    Batcher(model, features)


def test_an_answer_that_a_task_gains_leaves_the_weights_of_all_others_as_they_are(
    model: OmniModel, sample: Callable[..., Sample]
) -> None:
    rows = [sample(number) for number in range(4)]
    model.add_task(TaskSpec(name="sign", instructions=("Which sign?",), answers=("plus", "minus")))
    stirred(model)
    before = logits(model, rows)
    model.add_task(replace(SHAPES, answers=(*SHAPES.answers, "star")))
    assert model.answers == ("bar", "dot", "ring", "star", "plus", "minus")
    after = logits(model, rows)
    torch.testing.assert_close(after[:, [0, 1, 2, 4, 5]], before)
    assert (after[:, 3] == 0).all()
    with pytest.raises(ValueError, match="Keep the known ones in their order"):
        model.add_task(TaskSpec(name="sign", instructions=("?",), answers=("minus", "plus")))


def test_a_modality_that_the_model_lacks_is_refused_with_a_mend(model: OmniModel) -> None:
    row = Sample(id="x", task="shape", instruction="?", inputs={"sensor": np.zeros((4, 2), dtype=np.float32)})
    with pytest.raises(ValueError, match="Sample x has sensor, but the model takes text, image, audio"):
        encode_samples(model, [row])


def test_a_bad_value_names_its_sample(model: OmniModel) -> None:
    row = Sample(id="x", task="shape", instruction="?", inputs={"audio": np.full(9, np.nan, dtype=np.float32)})
    with pytest.raises(ValueError, match="Sample x: audio holds 9 values"):
        encode_samples(model, [row])


def test_all_five_modalities_fit_in_one_model() -> None:
    torch.manual_seed(0)
    config = replace(TINY, modalities=("text", "image", "audio", "video", "sensor"))
    model = OmniModel(config, [SHAPES])
    rng = np.random.default_rng(0)
    row = Sample(
        id="x",
        task="shape",
        instruction="Which shape?",
        inputs={
            "text": "dot",
            "image": rng.integers(0, 256, (8, 8, 3), dtype=np.uint8),
            "audio": rng.normal(0, 0.1, 4000).astype(np.float32),
            "video": rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8),
            "sensor": rng.normal(0, 1, (30, 6)).astype(np.float32),
        },
    )
    result = predict(model, [row])
    assert set(result.embeddings) == set(config.modalities)
    assert np.isfinite(result.probs).all()
    assert len({id(tensor) for tensor in model.state_dict().values()}) == len(model.state_dict())


def test_the_table_of_attention_mass_has_rows_that_sum_to_one(model: OmniModel, samples: list[Sample]) -> None:
    stirred(model)
    table = model.attention_mass(Batcher(model, encode_samples(model, samples))(torch.arange(len(samples))))
    assert table.shape == (TINY.layers, 4, 4)
    torch.testing.assert_close(table.sum(dim=-1), torch.ones(TINY.layers, 4))


def test_without_text_among_the_modalities_the_instruction_is_still_read(sample: Callable[..., Sample]) -> None:
    model = OmniModel(ModelConfig(modalities=("image",), width=16, heads=2, ffn_width=16), [SHAPES])
    features = encode_samples(model, [sample(1, modalities=("image",))])
    assert set(features.blocks) == {"image", INSTRUCTION}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ()}, "at least one"),
        ({"modalities": ("text", "text")}, "distinct"),
        ({"width": 10, "heads": 4}, "heads must divide width"),
        ({"attention": "dense"}, "attention must be one of dcma, seed, joint"),
        ({"dropout": float("nan")}, "dropout must lie within"),
        ({"encoder_options": {"smell": {}}}, "which are no modalities"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**changes)  # type: ignore[arg-type]


def test_an_unregistered_modality_is_refused_with_the_registered_ones() -> None:
    with pytest.raises(ValueError, match=r"No encoder for modality 'smell'\. Registered: audio"):
        OmniModel(ModelConfig(modalities=("smell",)), [SHAPES])


def test_a_cut_link_lets_nothing_through_and_the_others_stay(samples: list[Sample]) -> None:
    cut = replace(TINY, links={"0.image>audio": 0.0, "0.instruction>audio": 0.0, "0.text>audio": 0.0})
    torch.manual_seed(0)
    whole = OmniModel(TINY, [SHAPES]).eval()
    torch.manual_seed(0)
    model = OmniModel(cut, [SHAPES]).eval()
    assert model.state_dict().keys() == whole.state_dict().keys()
    batch = Batcher(model, encode_samples(model, samples[:1]))(torch.arange(1))
    mass = model.attention_mass(batch)[0]
    groups = (*TINY.modalities, "instruction")
    audio = groups.index("audio")
    assert mass[audio, audio] > 0
    assert all(mass[place, audio] == 0 for place in range(len(groups)) if place != audio)
    other = {**batch.values, "audio": batch.values["audio"] + 1.0}
    torch.testing.assert_close(model(replace(batch, values=other)).fused, model(batch).fused, rtol=0, atol=0)
    assert not torch.equal(whole(replace(batch, values=other)).fused, whole(batch).fused)


def test_a_stronger_link_gets_more_of_the_attention(samples: list[Sample]) -> None:
    tables = []
    for links in ({}, {"0.instruction>image": 4.0}, {"0.instruction>image": 0.25}):
        torch.manual_seed(0)
        model = OmniModel(replace(TINY, links=links), [SHAPES]).eval()
        batch = Batcher(model, encode_samples(model, samples[:1]))(torch.arange(1))
        tables.append(float(model.attention_mass(batch)[0][len(TINY.modalities), TINY.modalities.index("image")]))
    assert tables[1] > tables[0] > tables[2] > 0


@pytest.mark.parametrize(
    "links",
    [{"1.text>audio": 1.0}, {"0.text>smell": 1.0}, {"text>audio": 1.0}, {"0.text>audio": -1.0}, {"0.text>text": 0}],
)
def test_a_link_that_makes_no_sense_is_refused(links: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="links"):
        replace(TINY, links=links)
