"""Audio: WAV, FLAC and Ogg (Vorbis, Opus) through libsndfile, to mono at `AUDIO_RATE_HZ`.

libsndfile silently shortens a truncated file, so the containers' own lengths are checked first.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
import soundfile

from omni_model.data.codecs.base import LIMITS, CodecLimits, check_size, foreign_parser
from omni_model.data.errors import DecodeError
from omni_model.sample import AUDIO_RATE_HZ, Value

RATES_HZ = (4_000, 192_000)
PEAK = 4.0
"""Floating-point files may exceed full scale a little and are clipped; beyond this they hold another unit."""
BLOCK_FRAMES = 65_536
UNKNOWN_SIZE = 0xFFFF_FFFF
"""What a WAV written to a pipe declares as its length."""
MEND = "Convert it again from the original, e.g. with `ffmpeg -i original -ac 1 -ar 8000 out.wav`."


@dataclass(frozen=True, kw_only=True)
class AudioCodec:
    """Recordings; the canonical form is 16-bit WAV."""

    limits: CodecLimits = LIMITS
    modality: str = "audio"
    suffix: str = ".wav"

    def decode(self, data: bytes) -> np.ndarray:
        """To `float32 [T]` within [-1, 1]: channels averaged, resampled to `AUDIO_RATE_HZ`."""
        check_size(data, self.limits, "audio")
        check_complete(data)
        with foreign_parser("The audio cannot be read", MEND), soundfile.SoundFile(io.BytesIO(data)) as file:
            self._check_declared(file)
            sound = np.concatenate([np.zeros(0, dtype=np.float32), *self._blocks(file)])
            _check_samples(sound, declared=file.frames, rate_hz=file.samplerate)
            return _resampled(sound, file.samplerate)

    def encode(self, value: Value) -> bytes:
        """`float32 [T]` to a mono 16-bit WAV; exact for what `decode` made of such a file."""
        if not (isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.float32 and len(value)):
            raise DecodeError("An audio value must be a float32 array [T] with at least one sample. Convert it first.")
        if not np.isfinite(value).all():
            raise DecodeError("An audio value holds NaN or infinite samples. Replace them first.")
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setparams((1, 2, AUDIO_RATE_HZ, len(value), "NONE", "not compressed"))
            file.writeframes(np.clip(np.round(value * 32768.0), -32768, 32767).astype("<i2").tobytes())
        return buffer.getvalue()

    def _check_declared(self, file: soundfile.SoundFile) -> None:
        if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
            allowed = f"{RATES_HZ[0]:,} to {RATES_HZ[1]:,}"
            raise DecodeError(f"The audio has {file.samplerate:,} samples/s, outside {allowed}. {MEND}")
        if file.channels > self.limits.audio_channels:
            raise DecodeError(f"The audio has {file.channels} channels, more than {self.limits.audio_channels}. {MEND}")
        self._check_length(file.frames / file.samplerate)

    def _check_length(self, seconds: float) -> None:
        if seconds > self.limits.audio_s:
            raise DecodeError(
                f"The audio lasts {seconds:.1f} s or more, above the {self.limits.audio_s:g} s allowed. "
                "Cut it, or raise the limit audio_s."
            )

    def _blocks(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        """Mono blocks; the declared length is not trusted, so what really comes is counted too."""
        num_frames = 0
        while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            num_frames += len(block)
            self._check_length(num_frames / file.samplerate)
            yield _mono(block)


def _mono(block: np.ndarray) -> np.ndarray:
    """`[T, C]` to `[T]`; infinite samples pass through, to be told of where their place is known."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(block.mean(axis=1, dtype=np.float32))


def check_complete(data: bytes) -> None:
    """Refuse an unknown container and one that ends before the length it declares."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_wav(data)
    elif data.startswith(b"OggS"):
        _check_ogg(data)
    elif not data.startswith(b"fLaC"):
        raise DecodeError(f"The audio is none of WAV, FLAC, Ogg: it starts with {data[:8].hex(' ')}. {MEND}")


def _check_wav(data: bytes) -> None:
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        rest = len(data) - position - 8
        if name == b"data":
            if size > rest and size != UNKNOWN_SIZE:
                raise _truncated(f"it declares {size:,} bytes of samples and holds {rest:,}")
            return
        position += 8 + size + size % 2
    raise _truncated("it ends before its samples")


def _check_ogg(data: bytes) -> None:
    """Walk the pages: each a header of 27 bytes, a table of segment sizes, the segments; the last has flag 4 set."""
    position, ended = 0, False
    while position < len(data):
        table = data[position + 27 : position + 27 + (data[position + 26] if position + 26 < len(data) else 0)]
        end = position + 27 + len(table) + sum(table)
        if data[position : position + 4] != b"OggS" or end > len(data):
            raise _truncated(f"the page at byte {position} is broken or incomplete")
        ended = bool(data[position + 5] & 4)
        position = end
    if not ended:
        raise _truncated("its last page is missing")


def _truncated(how: str) -> DecodeError:
    return DecodeError(f"The audio is truncated: {how}. Copy it again from the original.")


def _check_samples(sound: np.ndarray, *, declared: int, rate_hz: int) -> None:
    if not len(sound):
        raise DecodeError("The audio has no samples. Leave the modality out of the row if there is none.")
    if len(sound) < declared < 2**62:
        raise _truncated(f"it declares {declared:,} samples and {len(sound):,} could be decoded")
    broken = np.flatnonzero(~np.isfinite(sound))
    if len(broken):
        raise DecodeError(
            f"The audio has {len(broken):,} samples that are NaN or infinite, the first at "
            f"{broken[0] / rate_hz:.3f} s. {MEND}"
        )
    peak = float(np.abs(sound).max())
    if peak > PEAK:
        raise DecodeError(
            f"The audio reaches {peak:g}, but full scale is 1.0. Divide it by its full scale, e.g. 32768."
        )


def _resampled(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """To `AUDIO_RATE_HZ` by a polyphase filter, clipped to [-1, 1]."""
    from scipy.signal import resample_poly

    if rate_hz != AUDIO_RATE_HZ:
        common = gcd(rate_hz, AUDIO_RATE_HZ)
        sound = resample_poly(sound, AUDIO_RATE_HZ // common, rate_hz // common)
    return np.asarray(np.clip(sound, -1.0, 1.0), dtype=np.float32)
