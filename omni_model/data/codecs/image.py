"""Images: PNG, JPEG, WebP, BMP and single-frame GIF through Pillow, to upright RGB.

The format is told by its first bytes and its parser is called directly. `Image.open` would try more formats, and checks
for decompression bombs against a process-wide constant, with a warning; here the size is compared with a limit of our
own right after the header was read and before any pixel is decoded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from omni_model.data.codecs.base import LIMITS, CodecLimits, check_size, foreign_parser
from omni_model.data.errors import DecodeError
from omni_model.sample import Value

BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels."""
MEND = "Open it in an image program and save it as PNG."


@dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """Still pictures; the canonical form is PNG."""

    limits: CodecLimits = LIMITS
    modality: str = "image"
    suffix: str = ".png"

    def decode(self, data: bytes) -> np.ndarray:
        """To `uint8 [H, W, 3]`: turned upright by its EXIF tag, laid on white where transparent, 16 bits cut to 8."""
        check_size(data, self.limits, "image")
        with foreign_parser("The image cannot be read", MEND):
            picture = open_picture(data)
            check_pixels(picture, self.limits.image_pixels, "image_pixels")
            if getattr(picture, "is_animated", False):
                raise DecodeError("The image has more than one frame. Give it as the modality video.")
            picture.load()
            return to_rgb(ImageOps.exif_transpose(picture))

    def encode(self, value: Value) -> bytes:
        """`uint8 [H, W, 3]` to PNG."""
        if not (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3):
            raise DecodeError(f"An image must be uint8 [H, W, 3], got {_described(value)}. Convert it first.")
        buffer = io.BytesIO()
        Image.fromarray(value).save(buffer, format="PNG")
        return buffer.getvalue()


def open_picture(data: bytes) -> ImageFile:
    """Read the header of a picture; no pixel is decoded yet. Raises `DecodeError` for a format not on the list."""
    file = io.BytesIO(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile(file)
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile(file)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile(file)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return GifImageFile(file)
    if data.startswith(b"BM"):
        return BmpImageFile(file)
    raise DecodeError(
        f"The image is none of PNG, JPEG, WebP, GIF, BMP: it starts with {data[:8].hex(' ')}. {MEND}",
    )


def check_pixels(picture: ImageFile, max_pixels: int, limit: str) -> None:
    """Refuse a picture by the size that its header declares."""
    num_pixels = picture.width * picture.height
    if num_pixels > max_pixels:
        raise DecodeError(
            f"The picture is {picture.width} x {picture.height}, {num_pixels / 1e6:.1f} megapixels, more than the "
            f"{max_pixels / 1e6:.1f} allowed. Scale it down, or raise the limit {limit}."
        )


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Any mode of Pillow to `uint8 [H, W, 3]`."""
    if picture.mode.startswith(("I", "F")):
        grey = np.asarray(picture).astype(np.int64)
        return np.repeat((np.clip(grey, 0, 65535) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        background = Image.new("RGB", picture.size, BACKGROUND)
        background.paste(picture, mask=picture.getchannel("A"))
        return np.array(background)
    return np.array(picture.convert("RGB"))


def _described(value: Value) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
