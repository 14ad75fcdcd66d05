from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest

from omni_model.data.codecs import CodecLimits
from omni_model.data.codecs.audio import AudioCodec
from omni_model.data.errors import DecodeError
from omni_model.sample import AUDIO_RATE_HZ
from tests.omni_model.data.media import sound_bytes, tone

CODEC = AudioCodec()
KINDS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_truncated_audio_is_refused(kind: str, subtype: str) -> None:
    content = sound_bytes(tone(2.0), kind=kind, subtype=subtype)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DecodeError, match=r"truncated|cannot be read"):
            CODEC.decode(content[: int(len(content) * share)])


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_every_format_and_rate_becomes_8_khz_mono(kind: str, subtype: str, rate_hz: int) -> None:
    stereo = np.stack([tone(1.0, rate_hz), tone(1.0, rate_hz)], axis=1)
    decoded = CODEC.decode(sound_bytes(stereo, rate_hz, kind, subtype))
    assert decoded.dtype == np.float32
    assert len(decoded) == AUDIO_RATE_HZ
    spectrum = np.abs(np.fft.rfft(decoded))
    assert spectrum.argmax() == 440
    assert 0.4 < np.abs(decoded[1000:7000]).max() < 0.6


@pytest.mark.parametrize("rate_hz", [11_025, 22_050, 44_100, 44_101])
def test_odd_rates_keep_the_length(rate_hz: int) -> None:
    assert len(CODEC.decode(sound_bytes(tone(0.5, rate_hz), rate_hz))) == pytest.approx(4000, abs=1)


def test_a_declared_length_above_the_limit_is_refused_before_decoding() -> None:
    content = sound_bytes(np.zeros(8000 * 200, dtype=np.float32), kind="FLAC")
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"200\.0 s or more, above the 120 s.*audio_s"):
        CODEC.decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_the_decoded_length_is_counted_too() -> None:
    class Endless(AudioCodec):
        def _check_declared(self, file: object) -> None:
            """A file whose header lies about its length."""

    content = sound_bytes(np.zeros(8000 * 30, dtype=np.float32))
    with pytest.raises(DecodeError, match="above the 10 s"):
        Endless(limits=CodecLimits(audio_s=10)).decode(content)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused_with_their_place(value: float) -> None:
    sound = tone(1.0)
    sound[4000] = value
    with pytest.raises(DecodeError, match=r"1 samples that are NaN or infinite, the first at 0\.500 s"):
        CODEC.decode(sound_bytes(sound, subtype="FLOAT"))


def test_a_float_file_in_another_unit_is_refused() -> None:
    with pytest.raises(DecodeError, match="full scale"):
        CODEC.decode(sound_bytes(tone(0.1) * 32768, subtype="FLOAT"))


def test_a_little_over_full_scale_is_clipped() -> None:
    decoded = CODEC.decode(sound_bytes(tone(0.1) * 3, subtype="FLOAT"))
    assert np.abs(decoded).max() == 1.0


def test_no_samples_are_refused() -> None:
    with pytest.raises(DecodeError, match="no samples"):
        CODEC.decode(sound_bytes(np.zeros(0, dtype=np.float32)))


@pytest.mark.parametrize("rate_hz", [100, 300_000])
def test_a_rate_outside_hearing_is_refused(rate_hz: int) -> None:
    with pytest.raises(DecodeError, match="samples/s"):
        CODEC.decode(sound_bytes(tone(0.1), rate_hz))


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(DecodeError, match="9 channels"):
        CODEC.decode(sound_bytes(np.zeros((100, 9), dtype=np.float32)))


def test_a_format_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(DecodeError, match="none of WAV, FLAC, Ogg"):
        CODEC.decode(sound_bytes(tone(0.1), kind="AIFF"))


def test_a_wav_from_a_pipe_with_no_length_is_read() -> None:
    content = bytearray(sound_bytes(tone(0.5)))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert len(CODEC.decode(bytes(content))) == 4000
