"""One conformance suite for every codec: what any of them must do with good, broken, empty and hostile bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_model.data.codecs import CODECS, Codec, CodecLimits, built_in, register
from omni_model.data.codecs.base import CodecLimits as BaseLimits
from omni_model.data.errors import DecodeError
from omni_model.sample import Value
from tests.omni_model.data import media

MODALITIES = ("text", "image", "audio", "video", "sensor")
VALUES: dict[str, Value] = {
    "text": "zéro ноль 零",
    "image": media.noise_picture(),
    "audio": (np.random.default_rng(0).integers(-32768, 32768, 500) / 32768).astype(np.float32),
    "video": np.stack([media.noise_picture(8, 10, seed) for seed in range(5)]),
    "sensor": np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32),
}
FILES: dict[str, list[Callable[[], bytes]]] = {
    "text": [lambda: "zéro".encode()],
    "image": [
        lambda: media.picture_bytes(media.noise_picture(), "PNG"),
        lambda: media.picture_bytes(media.noise_picture(), "JPEG"),
        lambda: media.picture_bytes(media.noise_picture(), "WEBP"),
        lambda: media.picture_bytes(media.noise_picture(), "GIF"),
        lambda: media.picture_bytes(media.noise_picture(), "BMP"),
    ],
    "audio": [
        lambda: media.sound_bytes(media.tone(0.2)),
        lambda: media.sound_bytes(media.tone(0.2), subtype="FLOAT"),
        lambda: media.sound_bytes(media.tone(0.2), kind="FLAC"),
        lambda: media.sound_bytes(media.tone(0.2), kind="OGG", subtype="VORBIS"),
        lambda: media.sound_bytes(media.tone(0.2), kind="OGG", subtype="OPUS"),
    ],
    "video": [
        lambda: media.film_bytes(media.ramp_film(6)),
        lambda: media.film_bytes(media.ramp_film(6), "webm", "libvpx"),
        lambda: media.animation_bytes(media.ramp_film(6), "GIF"),
        lambda: media.animation_bytes(media.ramp_film(6), "WEBP"),
        lambda: CODECS["video"].encode(VALUES["video"]),
    ],
    "sensor": [lambda: CODECS["sensor"].encode(VALUES["sensor"]), lambda: b"x,y\n1,2\n3,4\n"],
}
SEEDS = [(modality, make()) for modality, makers in FILES.items() for make in makers]
BOUNDED = settings(max_examples=150, deadline=None, derandomize=True)


def same(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.dtype == other.dtype and np.array_equal(one, other)


def test_the_five_modalities_are_registered_under_their_names() -> None:
    assert {modality: codec.modality for modality, codec in CODECS.items()} == {name: name for name in MODALITIES}
    assert all(isinstance(codec, Codec) for codec in CODECS.values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_was_encoded_decodes_to_the_same_value(modality: str) -> None:
    codec = CODECS[modality]
    assert same(codec.decode(codec.encode(VALUES[modality])), VALUES[modality])


@pytest.mark.parametrize("modality", MODALITIES)
def test_encoding_is_canonical_and_leaves_its_input_alone(modality: str) -> None:
    value = VALUES[modality]
    before = value if isinstance(value, str) else value.copy()
    assert CODECS[modality].encode(value) == CODECS[modality].encode(value)
    assert same(value, before)


@pytest.mark.parametrize(("modality", "data"), SEEDS)
def test_decoding_is_deterministic_and_the_canonical_form_is_final(modality: str, data: bytes) -> None:
    codec = CODECS[modality]
    value = codec.decode(data)
    assert same(codec.decode(data), value)
    stored = codec.decode(codec.encode(value))
    assert same(codec.decode(codec.encode(stored)), stored)
    if isinstance(value, np.ndarray):  # 16 bits of sound are coarser than float files
        np.testing.assert_allclose(np.asarray(stored), value, atol=1 / 32768)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 1000, b"\xff" * 1000], ids=["empty", "nul", "nuls", "ones"])
def test_nothing_and_rubbish_are_refused_with_a_mend(modality: str, data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        CODECS[modality].decode(data)
    assert str(caught.value).count(". ") >= 1
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(("modality", "data"), SEEDS)
def test_a_value_above_the_byte_limit_is_refused(modality: str, data: bytes) -> None:
    codec = built_in(CodecLimits(num_bytes=len(data) - 1))[modality]
    with pytest.raises(DecodeError, match="num_bytes"):
        codec.decode(data)


@pytest.mark.parametrize("modality", MODALITIES)
def test_encoding_a_value_of_another_modality_is_refused(modality: str) -> None:
    for other in MODALITIES:
        if other != modality:
            with pytest.raises(DecodeError):
                CODECS[modality].encode(VALUES[other])


@BOUNDED
@given(data=st.binary(max_size=300), modality=st.sampled_from(MODALITIES), seed=st.sampled_from(SEEDS))
def test_random_bytes_raise_nothing_but_decode_error(data: bytes, modality: str, seed: tuple[str, bytes]) -> None:
    for content in (data, seed[1][:12] + data):
        only_decode_error(modality, content)


@BOUNDED
@given(seed=st.sampled_from(SEEDS), share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_raise_nothing_but_decode_error(seed: tuple[str, bytes], share: float) -> None:
    only_decode_error(seed[0], seed[1][: int(len(seed[1]) * share)])


@BOUNDED
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    head=st.sampled_from([40, 400, 10**9]),
)
def test_flipped_bytes_raise_nothing_but_decode_error(
    seed: tuple[str, bytes], changes: list[tuple[float, int]], head: int
) -> None:
    content = bytearray(seed[1])
    for place, byte in changes:
        content[int(place * min(head, len(content)))] = byte
    only_decode_error(seed[0], bytes(content))


def only_decode_error(modality: str, content: bytes) -> None:
    try:
        value = CODECS[modality].decode(content)
    except DecodeError:
        return
    assert isinstance(value, str | np.ndarray)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="audio_s must be above 0"):
        BaseLimits(audio_s=0)


@dataclass(frozen=True)
class DepthCodec:
    """A modality of somebody else."""

    modality: str = "depth"
    suffix: str = ".bin"

    def decode(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, dtype=np.uint8)

    def encode(self, value: Value) -> bytes:
        return bytes(np.asarray(value, dtype=np.uint8))


def test_one_registered_codec_adds_a_modality(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODALITIES:
        monkeypatch.setitem(CODECS, name, CODECS[name])
    register(DepthCodec())
    monkeypatch.setitem(CODECS, "depth", CODECS.pop("depth"))  # so that it goes again after this test
    assert np.asarray(CODECS["depth"].decode(b"\1\2")).tolist() == [1, 2]


def test_a_modality_with_an_odd_name_is_refused() -> None:
    with pytest.raises(ValueError, match="Depth Map"):
        register(DepthCodec(modality="Depth Map"))
