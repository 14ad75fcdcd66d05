"""Files that a stranger could send: valid ones of every accepted format, mutations of them, and lies made by hand.

`python -m tests.omni_model.serve.hostile_files WHAT` decodes them in a process of its own, and tells what that took: a
crash of a decoder or a runaway allocation must not take the tests down with it.
"""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import time
import wave
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_model.data.codecs import CODECS, LIMITS
from omni_model.data.errors import DecodeError
from omni_model.sample import Value
from tests.omni_model.data import media

Seed = tuple[str, str, bytes]
"""Modality, format, content."""
EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\0\0\0\1", b"\0\1\0\0")


@cache
def seeds() -> tuple[Seed, ...]:
    """One valid file of every accepted format."""
    picture, film, tone = media.noise_picture(), media.ramp_film(6), media.tone(0.2)
    shapes = Image.fromarray(picture)
    made: list[Seed] = [("image", kind, media.picture_bytes(picture, kind)) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
    made += [
        ("image", "GIF", media.picture_bytes(picture, "GIF", interlace=1)),
        ("image", "PNG palette", media.picture_bytes(shapes.quantize(7), "PNG", transparency=3)),
        ("image", "PNG 16 bits", media.picture_bytes(shapes.convert("I;16"), "PNG")),
        ("image", "JPEG progressive", media.picture_bytes(picture, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*")),
        ("image", "JPEG CMYK", media.picture_bytes(shapes.convert("CMYK"), "JPEG")),
        ("audio", "WAV", media.sound_bytes(tone)),
        ("audio", "WAV float", media.sound_bytes(tone, subtype="FLOAT")),
        ("audio", "WAV ADPCM", media.sound_bytes(tone, subtype="IMA_ADPCM")),
        ("audio", "FLAC", media.sound_bytes(tone, kind="FLAC")),
        ("audio", "Vorbis", media.sound_bytes(tone, kind="OGG", subtype="VORBIS")),
        ("audio", "Opus", media.sound_bytes(tone, kind="OGG", subtype="OPUS")),
        ("video", "H.264", media.film_bytes(film)),
        ("video", "MPEG-4", media.film_bytes(film, codec="mpeg4")),
        ("video", "VP8", media.film_bytes(film, "webm", "libvpx")),
        ("video", "VP9", media.film_bytes(film, "webm", "libvpx-vp9")),
        ("video", "GIF", media.animation_bytes(film, "GIF")),
        ("video", "WebP", media.animation_bytes(film, "WEBP")),
        ("video", "npy", CODECS["video"].encode(film)),
        ("sensor", "npy", CODECS["sensor"].encode(np.ones((40, 6), dtype=np.float32))),
        ("sensor", "CSV", b"x,y\n1,2\n3,4\n-5e3,.5\n"),
        ("text", "UTF-8", "zéro ноль 零".encode()),
    ]
    return tuple(made)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid file with one to four faults: bits flipped, ends cut off, headers swapped, lying sizes, parts doubled."""
    modality, _, content = draw(st.sampled_from(seeds()))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["flip", "cut", "head", "lie", "double", "lose"]))
        near = min(len(content), draw(st.sampled_from([64, 600, 1 << 30])))
        place = int(draw(st.floats(0, 1, exclude_max=True)) * near)
        if kind == "flip":
            content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
        elif kind == "cut":
            content = content[:place]
        elif kind == "head":
            other = draw(st.sampled_from(seeds()))[2]
            content = other[: draw(st.sampled_from([4, 12, 64]))] + content[draw(st.sampled_from([4, 12, 64])) :]
        elif kind == "lie":
            content = content[:place] + draw(st.sampled_from(EXTREMES)) + content[place + 4 :]
        else:
            end = place + draw(st.integers(1, 200))
            content = content[:end] + content[place:] if kind == "double" else content[:place] + content[end:]
    return modality, content


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *more: bytes, depth: int = 1, kind: int = 0, rows: int | None = None) -> bytes:
    """A PNG of zeros with all rows in it, or fewer, and with further chunks."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    pixels = bytes((1 + -(-width * depth * channels // 8)) * (height if rows is None else rows))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *more,
            chunk(b"IDAT", zlib.compress(pixels, 9)),
            chunk(b"IEND", b""),
        ]
    )


def gif(screen: tuple[int, int], frames: list[tuple[int, int, int, int]]) -> bytes:
    """A GIF whose frames (left, top, width, height) declare what they like and hold 64 pixels."""
    whole = media.picture_bytes(Image.new("P", (8, 8)), "GIF")
    pixels = whole[whole.rindex(b"," + struct.pack("<HHHH", 0, 0, 8, 8)) + 9 : -1]
    body = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    for frame in frames:
        body += b"," + struct.pack("<HHHH", *frame) + pixels
    return body + b";"


def large_webp() -> bytes:
    """A small animation on a canvas that is said to be as large as the format allows."""
    content = bytearray(media.animation_bytes(media.ramp_film(3), "WEBP"))
    content[24:30] = b"\xfe\x3f\0" * 2
    return bytes(content)


def large_jpeg() -> bytes:
    """A small picture that says it has 4 gigapixels."""
    content = bytearray(media.picture_bytes(media.noise_picture(), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = b"\xff\xf0\xff\xf0"
    return bytes(content)


def large_bmp() -> bytes:
    """A header that says it has 4 gigapixels."""
    header = struct.pack("<IIiiHHIIiiII", 54, 40, 65_000, 65_000, 1, 24, *[0] * 6)
    return b"BM" + bytes(8) + header


def silence(seconds: int, rate_hz: int, channels: int) -> bytes:
    """A FLAC, which packs silence a thousandfold."""
    return media.sound_bytes(np.zeros((rate_hz * seconds, channels), np.int16), rate_hz, "FLAC")


def long_ogg(seconds: int) -> bytes:
    """Silence, written in pieces: libsndfile fails to write much of it at once."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8000, 1, format="OGG") as file:
        for _ in range(seconds):
            file.write(np.zeros(8000, np.float32))
    return buffer.getvalue()


def wav(rate_hz: int, channels: int, seconds: float) -> bytes:
    """Silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(bytes(int(rate_hz * seconds) * channels * 2))
    return buffer.getvalue()


def lying_film(height: int, width: int, codec: str = "libx264", container: str = "mp4") -> bytes:
    """A film of large frames whose container says that they are 64 x 48."""
    content = media.film_bytes(media.ramp_film(2, height, width), container, codec)
    large, small = struct.pack(">HH", width, height), struct.pack(">HH", 64, 48)
    track = struct.pack(">II", width << 16, height << 16), struct.pack(">II", 64 << 16, 48 << 16)
    return content.replace(large, small).replace(*track)


def zeros(num: int) -> bytes:
    """So many zeros, compressed."""
    return zlib.compress(bytes(num), 9)


HOSTILE: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "169 megapixels": ("image", lambda: png(13_000, 13_000)),
    "a full 16 megapixels of one bit": ("image", lambda: png(4096, 4096)),
    "a full 16 megapixels with alpha": ("image", lambda: png(4096, 4096, depth=8, kind=6)),
    "a full 16 megapixels of 16 bits": ("image", lambda: png(4096, 4096, depth=16, kind=2)),
    "no pixels behind a header": ("image", lambda: png(4096, 4096, rows=0)),
    "a text chunk of 512 MB": ("image", lambda: png(8, 8, chunk(b"zTXt", b"k\0\0" + zeros(2**29)))),
    "an international text of 512 MB": ("image", lambda: png(8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(2**29)))),
    "a colour profile of 512 MB": ("image", lambda: png(8, 8, chunk(b"iCCP", b"k\0\0" + zeros(2**29)))),
    "an EXIF chunk of nonsense": ("image", lambda: png(8, 8, chunk(b"eXIf", b"MM\0*\0\0\0\x08" + b"\xff" * 400))),
    "a chunk that says it has 2 GB": ("image", lambda: png(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT"),
    "a GIF frame beyond its screen": ("image", lambda: gif((8, 8), [(0, 0, 13_000, 13_000)])),
    "a second GIF frame beyond it": ("video", lambda: gif((8, 8), [(0, 0, 8, 8), (0, 0, 13_000, 13_000)])),
    "a second GIF frame far away": ("video", lambda: gif((8, 8), [(0, 0, 8, 8), (9_000, 9_000, 8, 8)])),
    "a GIF frame far away": ("image", lambda: gif((8, 8), [(9_000, 9_000, 8, 8)])),
    "ten thousand GIF frames": ("video", lambda: gif((8, 8), [(0, 0, 8, 8)] * 10_000)),
    "a WebP canvas of 268 megapixels": ("video", large_webp),
    "a WebP still of 268 megapixels": ("image", large_webp),
    "a JPEG of 4 gigapixels": ("image", large_jpeg),
    "a BMP of 4 gigapixels": ("image", large_bmp),
    "a hundred seconds of eight channels at 192 kHz": ("audio", lambda: silence(100, 192_000, 8)),
    "an hour of silence in FLAC": ("audio", lambda: silence(3600, 8000, 1)),
    "ten minutes of silence in Ogg": ("audio", lambda: long_ogg(600)),
    "2^36 samples in a FLAC header": ("audio", lambda: _flac_that_lies()),
    "a WAV of 65,535 channels": ("audio", lambda: wav(8000, 1, 0.1)[:22] + b"\xff\xff" + wav(8000, 1, 0.1)[24:]),
    "a WAV of 4 GHz": ("audio", lambda: wav(8000, 1, 0.1)[:24] + b"\xff" * 4 + wav(8000, 1, 0.1)[28:]),
    "frames of 9 megapixels that are said to be small": ("video", lambda: lying_film(2304, 4096)),
    "MPEG-4 frames that are said to be small": ("video", lambda: lying_film(2304, 4096, "mpeg4")),
    "a film that declares a year": ("video", lambda: _film_that_lies()),
    "an array of 2^60 values": ("sensor", lambda: _array_that_lies((2**30, 2**30))),
    "a film of 2^60 frames": ("video", lambda: _array_that_lies((2**60, 1, 1, 3), "|u1")),
    "an array of objects": ("sensor", lambda: _array_that_lies((4,), "|O")),
    "a line of sixty million cells": ("sensor", lambda: b"," * 60_000_000),
    "sixty million lines": ("sensor", lambda: b"1\n" * 30_000_000),
    "one cell of sixty million digits": ("sensor", lambda: b"9" * 60_000_000),
    "sixty million blanks": ("sensor", lambda: b"\n" * 60_000_000),
    "sixty million letters": ("text", lambda: b"a" * 60_000_000),
    "letters that grow when composed": ("text", lambda: "\ufb2c".encode() * 100_000),
}  # fmt: skip
"""Name to modality and content."""


def _flac_that_lies() -> bytes:
    content = bytearray(media.sound_bytes(media.tone(0.2), kind="FLAC"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    return bytes(content)


def _film_that_lies() -> bytes:
    content = media.film_bytes(media.ramp_film(6))
    place = content.index(b"mvhd") + 4 + 16
    return content[:place] + b"\x7f\xff\xff\xff" + content[place + 4 :]


def _array_that_lies(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


def outcome_of(modality: str, content: bytes) -> str:
    """`value`, or `DecodeError`; anything else comes out as it is raised."""
    try:
        value = CODECS[modality].decode(content)
    except DecodeError as error:
        if ". " not in str(error):
            raise RuntimeError(f"This refusal does not say what to do: {error}") from error
        return "DecodeError"
    check(modality, value)
    return "value"


def check(modality: str, value: Value) -> None:
    """A value is what the modality's values are, within the limits."""
    if isinstance(value, str):
        assert modality == "text"
        assert len(value) <= 4 * LIMITS.text_characters  # composing may lengthen
        return
    kinds: dict[str, tuple[type, int]] = {
        "image": (np.uint8, 3),
        "audio": (np.float32, 1),
        "video": (np.uint8, 4),
        "sensor": (np.float32, 2),
    }
    kind, ndim = kinds[modality]
    assert value.dtype == kind
    assert value.ndim == ndim
    assert value.size > 0
    assert value.dtype != np.float32 or bool(np.isfinite(value).all())


def peak_mb() -> float:
    """Peak resident memory of this process."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def reset_peak() -> float:
    """Let the peak begin anew; returns what is resident now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def fuzz(num: int) -> dict[str, Any]:
    """So many mutated files; what came out, and how far memory rose."""
    outcomes: Counter[str] = Counter()
    for modality, _, content in seeds():
        outcome_of(modality, content)  # loads every library first
    before = reset_peak()

    @settings(max_examples=num, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink])
    @given(file=mutated())
    def one(file: tuple[str, bytes]) -> None:
        outcomes[f"{file[0]} {outcome_of(*file)}"] += 1

    one()
    return {"outcomes": outcomes, "grown_mb": peak_mb() - before}


def hand_made(name: str) -> dict[str, Any]:
    """One file made by hand."""
    modality, make = HOSTILE[name]
    outcome_of(modality, next(content for kind, _, content in seeds() if kind == modality))
    content = make()
    before, began = reset_peak(), time.process_time()
    outcome = outcome_of(modality, content)
    return {"outcome": outcome, "grown_mb": peak_mb() - before, "seconds": time.process_time() - began}


if __name__ == "__main__":
    what = sys.argv[1]
    said = fuzz(int(what)) if what.isdecimal() else {name: hand_made(name) for name in sys.argv[1:]}
    sys.stdout.write(json.dumps(said))
