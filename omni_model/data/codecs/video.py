"""Video: MP4 and WebM, animated GIF and WebP, and `.npy`, to a bounded number of RGB frames over the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from omni_model.data.codecs.base import LIMITS, CodecLimits, check_size, foreign_parser
from omni_model.data.codecs.image import check_pixels, open_picture, to_rgb
from omni_model.data.codecs.npy import MAGIC, read_npy, write_npy
from omni_model.data.codecs.stream import container_format, fitting, read_frames
from omni_model.data.errors import DecodeError
from omni_model.sample import Value

Frame = TypeVar("Frame")
MEND = "Convert it again, e.g. with `ffmpeg -i original -vf scale=320:-2 out.mp4`."


@dataclass(frozen=True, kw_only=True)
class VideoCodec:
    """Moving pictures; the canonical form is an npy of the frames, which keeps them exactly."""

    limits: CodecLimits = LIMITS
    modality: str = "video"
    suffix: str = ".npy"

    def decode(self, data: bytes) -> np.ndarray:
        """To `uint8 [F, H, W, 3]` with `F <= video_frames` and `H x W <= video_pixels`."""
        check_size(data, self.limits, "video")
        with foreign_parser("The video cannot be read", MEND):
            if data.startswith(MAGIC):
                return self._array(data)
            if container := container_format(data):
                return thin(read_frames(data, container, self.limits), np.asarray, self.limits.video_frames)
            return self._animation(data)

    def encode(self, value: Value) -> bytes:
        """`uint8 [F, H, W, 3]` to npy."""
        if not (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 4 and value.shape[3] == 3):
            raise DecodeError("A video must be uint8 [F, H, W, 3]. Convert it first.")
        return write_npy(value)

    def _array(self, data: bytes) -> np.ndarray:
        max_values = self.limits.video_source_frames * self.limits.video_pixels * 3
        frames = read_npy(data, max_values=max_values, limit="video_source_frames")
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise DecodeError(f"A video array must be uint8 [F, H, W, 3], got {frames.dtype} {list(frames.shape)}.")
        if not 0 < frames.shape[1] * frames.shape[2] <= self.limits.video_pixels:
            raise DecodeError(
                f"The frames of the video array are {frames.shape[2]} x {frames.shape[1]}; allowed are 1 to "
                f"{self.limits.video_pixels:,} pixels. Scale them down, or raise the limit video_pixels."
            )
        return thin(frames, np.asarray, self.limits.video_frames)

    def _animation(self, data: bytes) -> np.ndarray:
        if not (data[:4] == b"GIF8" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
            raise DecodeError(
                f"The video is none of MP4, WebM, GIF, WebP, npy: it starts with {data[:8].hex(' ')}. {MEND} "
                "A still picture is given as the modality image."
            )
        _check_animation_complete(data)
        picture = open_picture(data)
        check_pixels(picture, self.limits.video_source_pixels, "video_source_pixels")
        size = fitting((picture.width, picture.height), self.limits.video_pixels)
        return thin(self._pictures(picture), lambda frame: to_rgb(frame.resize(size)), self.limits.video_frames)

    def _pictures(self, picture: ImageFile) -> Iterator[Image.Image]:
        """The frames of an animation, counted and timed as they come."""
        duration_ms = 0.0
        for number in range(self.limits.video_source_frames + 1):
            try:
                picture.seek(number)
            except EOFError:
                return
            check_pixels(picture, self.limits.video_source_pixels, "video_source_pixels")  # a frame may widen a GIF
            picture.load()
            duration_ms += float(picture.info.get("duration", 0))
            if duration_ms > self.limits.video_s * 1000:
                raise DecodeError(
                    f"The video lasts more than {self.limits.video_s:g} s. Cut it, or raise the limit video_s."
                )
            yield picture.convert("RGBA")
        raise DecodeError(f"The video has more than {self.limits.video_source_frames:,} frames. Cut it into pieces.")


def thin(frames: Iterable[Frame], convert: Callable[[Frame], np.ndarray], limit: int) -> np.ndarray:
    """At most `limit` frames, evenly spread, of a stream whose length is not known; holds `2 x limit` at a time.

    >>> thin(range(1000), np.asarray, 5).tolist()
    [0, 256, 512, 640, 896]
    """
    kept: list[np.ndarray] = []
    stride = 1
    for number, frame in enumerate(frames):
        if number % stride:
            continue
        kept.append(convert(frame))
        if len(kept) == 2 * limit:
            del kept[1::2]
            stride *= 2
    if not kept:
        raise DecodeError(f"The video has no frames. {MEND}")
    places = np.round(np.linspace(0, len(kept) - 1, min(limit, len(kept)))).astype(int)
    return np.stack([kept[place] for place in places])


def _check_animation_complete(data: bytes) -> None:
    """Pillow ends an animation where its bytes end; a GIF closes with `;`, a WebP declares its length."""
    declared = int.from_bytes(data[4:8], "little") + 8
    if (data[:3] == b"GIF" and not data.rstrip(b"\0").endswith(b";")) or (data[:4] == b"RIFF" and declared > len(data)):
        raise DecodeError(
            "The video is truncated: the end of the animation is missing. Copy it again from the original."
        )
