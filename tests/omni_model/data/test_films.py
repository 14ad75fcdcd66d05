from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from omni_model.data.codecs import CodecLimits
from omni_model.data.codecs.npy import write_npy
from omni_model.data.codecs.video import VideoCodec
from omni_model.data.errors import DecodeError
from tests.omni_model.data.media import (
    animation_bytes,
    film_bytes,
    noise_picture,
    picture_bytes,
    ramp_film,
    sound_bytes,
    tone,
)

CODEC = VideoCodec()


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("mp4", "mpeg4"), ("webm", "libvpx"), ("webm", "libvpx-vp9")]
)
def test_films_become_frames_in_order(container: str, codec: str) -> None:
    decoded = CODEC.decode(film_bytes(ramp_film(20), container, codec))
    assert decoded.shape == (20, 48, 64, 3)
    levels = decoded.mean(axis=(1, 2, 3))
    assert (np.diff(levels) > 0).all()
    assert np.abs(levels - np.linspace(0, 255, 20)).max() < 12


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animations_become_frames_in_order(kind: str) -> None:
    decoded = CODEC.decode(animation_bytes(ramp_film(8), kind))
    assert decoded.shape == (8, 48, 64, 3)
    assert np.abs(decoded.mean(axis=(1, 2, 3)) - np.linspace(0, 255, 8)).max() < 3


def test_long_films_are_thinned_evenly() -> None:
    codec = VideoCodec(limits=CodecLimits(video_frames=8))
    levels = codec.decode(film_bytes(ramp_film(200))).mean(axis=(1, 2, 3))
    assert len(levels) == 8
    assert np.diff(levels).min() > 15
    assert levels[0] < 10
    assert levels[-1] > 215


def test_large_frames_are_scaled_down_in_proportion() -> None:
    codec = VideoCodec(limits=CodecLimits(video_pixels=64 * 48))
    assert codec.decode(film_bytes(ramp_film(3, 96, 128))).shape == (3, 48, 64, 3)
    assert codec.decode(animation_bytes(ramp_film(3, 96, 128), "GIF")).shape == (3, 48, 64, 3)


@pytest.mark.parametrize(
    "content",
    [
        film_bytes(ramp_film(20)),
        film_bytes(ramp_film(20), "webm", "libvpx"),
        animation_bytes(ramp_film(20), "GIF"),
        animation_bytes(ramp_film(20), "WEBP"),
    ],
    ids=["mp4", "webm", "gif", "webp"],
)
def test_truncated_films_are_refused(content: bytes) -> None:
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(DecodeError):
            CODEC.decode(content[: int(len(content) * share)])


def test_a_film_above_the_time_limit_is_refused() -> None:
    codec = VideoCodec(limits=CodecLimits(video_s=1.0))
    for content in (film_bytes(ramp_film(20), rate=10), animation_bytes(ramp_film(20), "GIF", duration_ms=100)):
        with pytest.raises(DecodeError, match="video_s"):
            codec.decode(content)


def test_a_film_above_the_frame_limit_is_refused() -> None:
    codec = VideoCodec(limits=CodecLimits(video_source_frames=10))
    for content in (film_bytes(ramp_film(20)), animation_bytes(ramp_film(20), "WEBP")):
        with pytest.raises(DecodeError, match=r"10\b.* frames"):
            codec.decode(content)


def test_a_film_above_the_pixel_limit_is_refused() -> None:
    codec = VideoCodec(limits=CodecLimits(video_source_pixels=1000))
    for content in (film_bytes(ramp_film(2)), animation_bytes(ramp_film(2), "GIF")):
        with pytest.raises(DecodeError, match="video_source_pixels"):
            codec.decode(content)


def test_sound_in_a_video_container_is_no_film() -> None:
    with pytest.raises(DecodeError, match="none of MP4, WebM"):
        CODEC.decode(sound_bytes(tone(), kind="OGG"))


def test_a_still_picture_is_no_film() -> None:
    with pytest.raises(DecodeError, match="modality image"):
        CODEC.decode(picture_bytes(noise_picture()))


def test_playlists_that_name_other_files_are_not_opened() -> None:
    for content in (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"):
        with pytest.raises(DecodeError, match="none of MP4, WebM"):
            CODEC.decode(content)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 4), (2, 4, 4, 4), (2, 0, 4, 3), (2, 1000, 1000, 3)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(write_npy(np.zeros(shape, dtype=np.uint8)))


def test_decoding_holds_only_a_bounded_number_of_frames() -> None:
    codec = VideoCodec(limits=CodecLimits(video_frames=4))
    content = film_bytes(ramp_film(300, 240, 320))
    tracemalloc.start()
    codec.decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 240 * 320 * 3  # all 300 frames would be 300 times 240 x 320 x 3 bytes
