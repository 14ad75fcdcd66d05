"""One conformance suite for every registered encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omni_model.encoders import ENCODERS, Encoder, register_encoder
from omni_model.encoders.audio import above_floor, active_part, log_mel
from omni_model.encoders.registry import Value
from omni_model.encoders.video import VideoEncoder

WIDTH = 8
RNG = np.random.default_rng(0)

ORDINARY: dict[str, Value] = {
    "text": "Пять яблок и cinq pommes",
    "image": RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8),
    "audio": RNG.normal(0.0, 0.1, 6000).astype(np.float32),
    "video": RNG.integers(0, 256, (5, 10, 12, 3), dtype=np.uint8),
    "sensor": RNG.normal(0.0, 1.0, (70, 3)).astype(np.float32),
}
OTHER: dict[str, Value] = {
    "text": "six",
    "image": RNG.integers(0, 256, (64, 9, 3), dtype=np.uint8),
    "audio": RNG.normal(0.0, 0.1, 12000).astype(np.float32),
    "video": RNG.integers(0, 256, (2, 31, 12, 3), dtype=np.uint8),
    "sensor": RNG.normal(0.0, 1.0, (9, 3)).astype(np.float32),
}
ONE_STEP: dict[str, Value] = {
    "text": "a",
    "image": np.full((1, 1, 3), 7, dtype=np.uint8),
    "audio": np.zeros(1, dtype=np.float32),
    "video": np.full((1, 1, 1, 3), 7, dtype=np.uint8),
    "sensor": np.zeros((1, 1), dtype=np.float32),
}
CONSTANT: dict[str, Value] = {
    "text": "a" * 40,
    "image": np.zeros((32, 32, 3), dtype=np.uint8),
    "audio": np.full(8000, 0.5, dtype=np.float32),
    "video": np.full((4, 32, 32, 3), 255, dtype=np.uint8),
    "sensor": np.full((100, 2), 1e6, dtype=np.float32),
}
LONG: dict[str, Value] = {
    "text": "слово " * 20_000,
    "image": RNG.integers(0, 256, (900, 700, 3), dtype=np.uint8),
    "audio": RNG.normal(0.0, 0.1, 8000 * 60).astype(np.float32),
    "video": RNG.integers(0, 256, (300, 16, 16, 3), dtype=np.uint8),
    "sensor": RNG.normal(0.0, 1.0, (100_000, 8)).astype(np.float32),
}
MODALITIES = sorted(ORDINARY)


def build(modality: str) -> Encoder:
    torch.manual_seed(0)
    encoder = ENCODERS[modality](WIDTH, {})
    encoder.eval()
    return encoder


def tokens_of(encoder: Encoder, *values: Value) -> list[torch.Tensor]:
    """The tokens of each value, all encoded in one padded batch."""
    prepared = [encoder.prepare(value) for value in values]
    x = torch.nn.utils.rnn.pad_sequence(prepared, batch_first=True)
    lengths = torch.tensor([len(row) for row in prepared])
    tokens, mask = encoder(x, torch.arange(x.shape[1]) < lengths[:, None])
    assert tokens.shape[:2] == mask.shape
    assert tokens.shape[2] == WIDTH
    assert mask.dtype == torch.bool
    return [row[there] for row, there in zip(tokens, mask, strict=True)]


def test_every_registered_encoder_is_in_this_suite() -> None:
    assert set(MODALITIES) == {"text", "image", "audio", "video", "sensor"} <= set(ENCODERS)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(
    "values", [ORDINARY, ONE_STEP, CONSTANT, LONG], ids=["ordinary", "one_step", "constant", "long"]
)
def test_a_value_gives_finite_tokens_within_the_limit(modality: str, values: dict[str, Value]) -> None:
    encoder = build(modality)
    (tokens,) = tokens_of(encoder, values[modality])
    assert 1 <= len(tokens) <= encoder.max_tokens
    assert torch.isfinite(tokens).all()


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_encoder_does_not_change_its_input(modality: str) -> None:
    value = ORDINARY[modality]
    before = value if isinstance(value, str) else value.copy()
    encoder = build(modality)
    encoder.prepare(value).add_(1)
    assert np.array_equal(np.asarray(value), np.asarray(before))


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_encoder_is_deterministic(modality: str) -> None:
    encoder = build(modality)
    (one,), (two,) = tokens_of(encoder, ORDINARY[modality]), tokens_of(encoder, ORDINARY[modality])
    assert torch.equal(one, two)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_rows_tokens_do_not_depend_on_padding_or_on_other_rows(modality: str) -> None:
    encoder = build(modality)
    (alone,) = tokens_of(encoder, OTHER[modality])
    for _, beside in [tokens_of(encoder, ORDINARY[modality], OTHER[modality])]:
        torch.testing.assert_close(beside, alone)


@pytest.mark.parametrize("modality", ["audio", "sensor"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_a_mend(modality: str, bad: float) -> None:
    value = np.array(ORDINARY[modality])
    value[3] = bad
    with pytest.raises(ValueError, match=rf"{modality} holds \d+ values that are NaN or infinite.*Repair"):
        build(modality).prepare(value)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_value_of_the_wrong_type_is_refused_with_a_mend(modality: str) -> None:
    wrong: Value = np.zeros((2, 2, 2, 2, 2)) if modality == "text" else "words"
    with pytest.raises(ValueError, match=f"{modality} must be"):
        build(modality).prepare(wrong)


@pytest.mark.parametrize(("modality", "shape"), [("image", (4, 4, 4)), ("video", (2, 4, 4, 1)), ("sensor", (5, 99))])
def test_a_value_of_the_wrong_shape_is_refused(modality: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{modality} must"):
        build(modality).prepare(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("modality", "empty"), [("text", ""), ("audio", np.zeros(0)), ("sensor", np.zeros((0, 2)))], ids=str
)
def test_an_empty_value_has_no_tokens(modality: str, empty: Value) -> None:
    assert build(modality).prepare(empty).shape[0] == 0


def test_characters_of_other_scripts_are_told_apart() -> None:
    encoder = build("text")
    cyrillic, latin, shifted = tokens_of(encoder, "а", "a", "\u0530")
    assert not torch.allclose(cyrillic, latin)
    assert not torch.allclose(cyrillic, shifted)


def test_a_clips_place_and_loudness_hardly_matter() -> None:
    encoder = build("audio")
    sound = np.zeros(10_000, dtype=np.float32)
    noise = np.random.default_rng(1).normal(0.0, 1e-3, 10_000).astype(np.float32)
    tone = (np.sin(np.arange(3200) * 0.7) * np.hanning(3200)).astype(np.float32)
    early, late = sound.copy(), sound.copy()
    early[800:4000] += tone
    late[5600:8800] += tone
    a, b, c = (encoder.prepare(value) for value in (early + noise, late + noise, 0.1 * (late + noise)))
    assert (a - b).abs().mean() < 0.25 * a.abs().mean()
    assert (b - c).abs().mean() < 0.25 * b.abs().mean()


def test_silence_is_active_throughout() -> None:
    mel = above_floor(log_mel(torch.zeros(8000), 40))
    assert (mel == 0).all()
    assert active_part(mel) == (0.0, len(mel) - 1.0)


def test_video_uses_the_models_own_image_encoder() -> None:
    image = build("image")
    video = ENCODERS["video"](WIDTH, {"image": image})
    assert not any(name.startswith("own_image") for name, _ in video.named_parameters())
    assert isinstance(video, VideoEncoder)
    assert video.image is image


def test_a_modality_has_one_encoder() -> None:
    with pytest.raises(ValueError, match="text has the encoder TextEncoder"):
        register_encoder("text")(ENCODERS["image"])
