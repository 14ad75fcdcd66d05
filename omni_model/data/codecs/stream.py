"""Frames out of MP4 and WebM through PyAV, with everything that FFmpeg could be talked into switched off.

The demuxer is named, never guessed: FFmpeg's guess includes playlists, which open other files and addresses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from omni_model.data.codecs.base import CodecLimits
from omni_model.data.errors import DecodeError

EBML = b"\x1a\x45\xdf\xa3"
SEGMENT = b"\x18\x53\x80\x67"
CODECS_READ = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg"})
MICROSECONDS = 1_000_000


def container_format(data: bytes) -> str | None:
    """FFmpeg's name for the container, told by its first bytes; None for anything that is not on the list.

    >>> container_format(b"....ftypisom")
    'mov'
    """
    if data[4:8] == b"ftyp":
        return "mov"
    return "matroska" if data.startswith(EBML) else None


def read_frames(data: bytes, container: str, limits: CodecLimits) -> Iterator[np.ndarray]:
    """Upright frames `uint8 [H, W, 3]` of one size, at most `limits.video_pixels` each, in the order they are shown."""
    import av

    if container == "mov":
        _check_boxes(data)
    else:
        _check_segment(data)
    with av.open(io.BytesIO(data), mode="r", format=container, metadata_errors="replace") as file:
        if not file.streams.video:
            raise DecodeError("The video file has no picture track. If it is sound, give it as the modality audio.")
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1  # one frame in flight at a time: memory, not speed, is what matters here
        stream.codec_context.options = {
            "max_pixels": str(limits.video_source_pixels)
        }  # whatever the container declares
        _check_declared(stream.codec_context.name, file.duration or 0, limits)
        _check_size(stream.codec_context.width, stream.codec_context.height, limits)
        size = None
        for number, frame in enumerate(file.decode(stream)):
            _check_frame(number, frame.time or 0.0, limits)
            _check_size(frame.width, frame.height, limits)
            size = size or fitting((frame.width, frame.height), limits.video_pixels)
            picture = frame.reformat(width=size[0], height=size[1], format="rgb24").to_ndarray()
            yield np.rot90(picture, k=round(frame.rotation / 90) % 4)


def fitting(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """Width and height scaled down to at most `max_pixels`, proportions kept.

    >>> fitting((1920, 1080), 640 * 360)
    (640, 360)
    >>> fitting((64, 48), 640 * 360)
    (64, 48)
    """
    width, height = size
    scale = min(1.0, (max_pixels / (width * height)) ** 0.5)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _check_declared(codec: str, duration_us: int, limits: CodecLimits) -> None:
    if codec not in CODECS_READ:
        names = ", ".join(sorted(CODECS_READ))
        raise DecodeError(f"The video is coded as {codec}; {names} are read. Convert it with ffmpeg.")
    if duration_us > limits.video_s * MICROSECONDS:
        raise DecodeError(
            f"The video lasts {duration_us / MICROSECONDS:.1f} s, above the {limits.video_s:g} s allowed. "
            "Cut it, or raise the limit video_s."
        )


def _check_size(width: int, height: int, limits: CodecLimits) -> None:
    if not 0 < width * height <= limits.video_source_pixels:
        raise DecodeError(
            f"The frames of the video are {width} x {height}; allowed are 1 to {limits.video_source_pixels:,} pixels. "
            "Scale it down, or raise the limit video_source_pixels."
        )


def _check_frame(number: int, time_s: float, limits: CodecLimits) -> None:
    """What was declared is not trusted: count and time what is decoded."""
    if number >= limits.video_source_frames or time_s > limits.video_s:
        raise DecodeError(
            f"The video goes on after {number:,} frames and {time_s:.1f} s; allowed are {limits.video_source_frames:,} "
            f"frames and {limits.video_s:g} s. Cut it into pieces."
        )


def _check_boxes(data: bytes) -> None:
    """Walk the outer boxes of an MP4: each starts with its size and its name, and must end within the file."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        elif size == 0:  # up to the end of the file
            return
        if size < 8:
            raise _truncated(f"the box at byte {position} is damaged")
        position += size
    if position > len(data):
        raise _truncated(f"it declares {position:,} bytes and holds {len(data):,}")


def _check_segment(data: bytes) -> None:
    """The one segment of a WebM starts with its length, unless it was streamed."""
    start = data.find(SEGMENT, 0, 4096) + len(SEGMENT)
    if start < len(SEGMENT) or start >= len(data) or not data[start]:
        raise _truncated("it ends before its segment")
    num_bytes = 9 - data[start].bit_length()
    size = int.from_bytes(data[start : start + num_bytes], "big") & ((1 << 7 * num_bytes) - 1)
    streamed = size == (1 << 7 * num_bytes) - 1
    if not streamed and start + num_bytes + size > len(data):
        raise _truncated(f"it declares {start + num_bytes + size:,} bytes and holds {len(data):,}")


def _truncated(how: str) -> DecodeError:
    return DecodeError(f"The video is truncated: {how}. Copy it again from the original.")
