"""Small real files of every kind, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image


def noise_picture(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture_bytes(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing: what a decompression bomb looks like."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def tone(seconds: float = 1.0, rate_hz: int = 8000, pitch_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def sound_bytes(sound: np.ndarray, rate_hz: int = 8000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def film_bytes(frames: np.ndarray, container: str = "mp4", codec: str = "libx264", rate: int = 10) -> bytes:
    """Frames `uint8 [F, H, W, 3]` with even height and width."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def animation_bytes(frames: np.ndarray, kind: str, duration_ms: int = 100) -> bytes:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    first.save(buffer, kind, save_all=True, append_images=rest, duration=duration_ms, **lossless)
    return buffer.getvalue()


def ramp_film(num_frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames that get brighter, so that their order and place can be read off them."""
    levels = np.linspace(0, 255, num_frames).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()
