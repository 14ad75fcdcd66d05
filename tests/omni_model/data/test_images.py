from __future__ import annotations

import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from omni_model.data.codecs import CodecLimits
from omni_model.data.codecs.image import ImageCodec
from omni_model.data.errors import DecodeError
from tests.omni_model.data.media import animation_bytes, noise_picture, picture_bytes, png_header, ramp_film

CODEC = ImageCodec()


def test_a_corrupt_image_is_refused() -> None:
    content = bytearray(picture_bytes(noise_picture()))
    content[60:90] = bytes(30)
    with pytest.raises(DecodeError, match="cannot be read"):
        CODEC.decode(bytes(content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    content = picture_bytes(noise_picture(200, 200), kind)
    with pytest.raises(DecodeError):
        CODEC.decode(content[: len(content) // 2])


@pytest.mark.parametrize("size", [(10_000, 10_000), (13_000, 13_000), (60_000, 60_000)])
def test_a_100_megapixel_image_is_refused_by_its_header_alone(size: tuple[int, int]) -> None:
    content = png_header(*size)
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"megapixels, more than the 16\.8 allowed.*image_pixels"):
        CODEC.decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_gif_that_declares_a_huge_screen_is_refused() -> None:
    content = bytearray(picture_bytes(noise_picture(), "GIF"))
    content[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(DecodeError, match=r"megapixels|limit"):
        CODEC.decode(bytes(content))


def test_the_size_limit_needs_no_process_wide_setting() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    refused = []

    def refuse() -> None:
        for _ in range(20):
            with pytest.raises(DecodeError):
                CODEC.decode(png_header(13_000, 13_000))
            refused.append(True)

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 80
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_a_raised_limit_lets_a_larger_picture_in() -> None:
    content = picture_bytes(noise_picture(20, 30))
    assert ImageCodec(limits=CodecLimits(image_pixels=600)).decode(content).shape == (20, 30, 3)
    with pytest.raises(DecodeError, match="30 x 20"):
        ImageCodec(limits=CodecLimits(image_pixels=599)).decode(content)


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO"])
def test_a_format_that_is_not_on_the_list_is_refused(kind: str) -> None:
    with pytest.raises(DecodeError, match="none of PNG, JPEG, WebP, GIF, BMP"):
        CODEC.decode(picture_bytes(noise_picture(32, 32), kind))


def test_a_picture_taken_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    picture = np.zeros((10, 20, 3), dtype=np.uint8)
    picture[:, :10] = 255
    decoded = CODEC.decode(picture_bytes(picture, "PNG", exif=exif))
    assert decoded.shape == (20, 10, 3)
    assert decoded[:10].min() == 255
    assert decoded[10:].max() == 0


def test_transparent_pixels_show_white() -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    decoded = CODEC.decode(picture_bytes(picture))
    assert decoded[0, 0].tolist() == [255, 0, 0]
    assert decoded[3, 3].tolist() == [255, 255, 255]
    assert 126 <= decoded[0, 1, 0] <= 128


def test_a_palette_with_transparency_shows_white() -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((0, 0), 0)
    decoded = CODEC.decode(picture_bytes(picture, "PNG", transparency=0))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[1, 1].tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    decoded = CODEC.decode(picture_bytes(Image.new(mode, (6, 5)), kind))
    assert decoded.shape == (5, 6, 3)
    assert decoded.dtype == np.uint8


def test_sixteen_bits_are_cut_to_eight() -> None:
    grey = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
    decoded = CODEC.decode(picture_bytes(Image.fromarray(grey)))
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_no_image(kind: str) -> None:
    with pytest.raises(DecodeError, match="more than one frame"):
        CODEC.decode(animation_bytes(ramp_film(3), kind))
