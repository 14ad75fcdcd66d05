"""Simple properties of an input that a person can check by looking or listening.

Images and frames are `uint8 [H, W, 3]`, sound is `float [T]` in [-1, 1], sensors are `float [T, C]`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def describe(modality: str, value: str | Array, *, rate_hz: float = 8000.0) -> dict[str, float]:
    """The descriptors of one input; empty for a modality that has none.

    >>> describe("text", "сто 1")["share_latin"], describe("text", "")["length"]
    (0.0, 0.0)
    """
    if modality == "text":
        return of_text(str(value))
    array = np.asarray(value)
    if modality == "audio":
        return of_audio(array, rate_hz)
    how: Callable[[Array], dict[str, float]] | None = {"image": of_image, "video": of_video, "sensor": of_sensor}.get(
        modality
    )
    return how(array) if how else {}


def of_image(image_HWC: Array) -> dict[str, float]:
    """Brightness and contrast (mean and standard deviation of luma in [0, 1]), sharpness (variance of its Laplacian).

    >>> of_image(np.full((4, 4, 3), 255, dtype=np.uint8))
    {'brightness': 1.0, 'contrast': 0.0, 'sharpness': 0.0}
    """
    luma_HW = np.round(np.asarray(image_HWC, dtype=np.float64) @ np.array([0.299, 0.587, 0.114]) / 255, 12)
    if min(luma_HW.shape) < 3:
        laplacian = np.zeros(1)
    else:
        laplacian = (
            luma_HW[:-2, 1:-1] + luma_HW[2:, 1:-1] + luma_HW[1:-1, :-2] + luma_HW[1:-1, 2:] - 4 * luma_HW[1:-1, 1:-1]
        )
    return {
        "brightness": float(luma_HW.mean()),
        "contrast": float(luma_HW.std()),
        "sharpness": float(laplacian.var()),
    }


def of_video(video_FHWC: Array) -> dict[str, float]:
    """Those of the middle frame, the number of frames, and motion: mean absolute difference of frames in [0, 1]."""
    frames = np.asarray(video_FHWC, dtype=np.float64)
    motion = float(np.abs(np.diff(frames, axis=0)).mean() / 255) if len(frames) > 1 else 0.0
    return of_image(video_FHWC[len(frames) // 2]) | {"frames": float(len(frames)), "motion": motion}


def of_audio(wave_T: Array, rate_hz: float) -> dict[str, float]:
    """Loudness (RMS, dB of full scale), SNR (loud against quiet tenths of 20 ms frames, dB), duration in seconds.

    Silence is -120 dB loud and has an SNR of 0.

    >>> round(of_audio(np.ones(8000), 8000.0)["loudness_db"], 3), of_audio(np.ones(8000), 8000.0)["duration_s"]
    (0.0, 1.0)
    """
    wave_T = np.asarray(wave_T, dtype=np.float64).reshape(-1)
    frame = max(1, int(0.02 * rate_hz))
    whole = len(wave_T) // frame * frame
    power_F = (wave_T[:whole].reshape(-1, frame) ** 2).mean(axis=1) if whole else np.zeros(1)
    loud, quiet = (max(float(np.quantile(power_F, share)), 1e-12) for share in (0.9, 0.1))
    mean = max(float((wave_T**2).mean()) if len(wave_T) else 0.0, 1e-12)
    return {
        "loudness_db": float(10 * np.log10(mean)),
        "snr_db": float(10 * np.log10(loud / quiet)),
        "duration_s": len(wave_T) / rate_hz,
    }


def of_sensor(series_TC: Array) -> dict[str, float]:
    """Mean and spread over all channels, and the number of steps."""
    series = np.asarray(series_TC, dtype=np.float64)
    return {"mean": float(series.mean()), "deviation": float(series.std()), "steps": float(len(series))}


def of_text(text: str) -> dict[str, float]:
    """Length in characters, the shares of the commonest scripts among letters, and of characters nobody could decode.

    >>> of_text("ab я")
    {'length': 4.0, 'share_latin': 0.6666666666666666, 'share_cyrillic': 0.3333333333333333, 'share_unknown': 0.0}
    """
    scripts = Counter(script_of(letter) for letter in text if letter.isalpha())
    letters = max(sum(scripts.values()), 1)
    return {
        "length": float(len(text)),
        "share_latin": scripts["LATIN"] / letters,
        "share_cyrillic": scripts["CYRILLIC"] / letters,
        "share_unknown": text.count("�") / max(len(text), 1),
    }


def script_of(letter: str) -> str:
    """The script of a letter by its Unicode name; an empty text for one without a name.

    >>> script_of("я")
    'CYRILLIC'
    """
    return unicodedata.name(letter, "").partition(" ")[0]
