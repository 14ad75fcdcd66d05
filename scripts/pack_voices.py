"""Pack the sixty recorded digits of the tri-digits set into `omni_model/data/voices/voices.npz`.

Run once, on Debian or Ubuntu: `python scripts/pack_voices.py`. The packages, versions, speakers and licences are
listed in `omni_model/data/voices/NOTICE`. Each clip is high-passed (the GSM recordings of Armelle start with a decaying
offset), trimmed to its voiced part, and stored as int16 at 8 kHz under the key `<domain>_<digit>`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, sosfiltfilt

from omni_model.data import debian

RATE_HZ = 8000
FRAME = 160  # samples: 20 ms
HIGH_PASS_HZ = 80
VOICED_SHARE = 0.02  # a frame is voiced from this share of the loudest frame's RMS
TARGET = Path(__file__).resolve().parent.parent / "omni_model" / "data" / "voices" / "voices.npz"

VOICES = {  # domain: (package, version, folder below usr/share/asterisk/sounds)
    "en": ("asterisk-core-sounds-en-wav", "1.6.1-1", "en_US_f_Allison"),
    "es": ("asterisk-core-sounds-es-wav", "1.6.1-1", "es_MX_f_Allison"),
    "fr": ("asterisk-core-sounds-fr-wav", "1.6.1-1", "fr_CA_f_June"),
    "it": ("asterisk-core-sounds-it-wav", "1.6.1-1", "it_IT_m_Carlo"),
    "ru": ("asterisk-core-sounds-ru-wav", "1.6.1-1", "ru_RU_f_IvrvoiceRU"),
    "fr2": ("asterisk-prompt-fr-armelle", "20070613-2.2", "fr"),
}


def read_clip(path: Path) -> np.ndarray:
    """A recording as float64 `[T]`; `.gsm` files have no header."""
    raw = {"format": "RAW", "subtype": "GSM610", "samplerate": RATE_HZ, "channels": 1} if path.suffix == ".gsm" else {}
    clip, rate_hz = soundfile.read(path, **raw)
    if rate_hz != RATE_HZ or clip.ndim != 1:
        raise ValueError(f"{path} must be mono at {RATE_HZ} Hz, got {clip.shape} at {rate_hz} Hz. Check the package.")
    return np.asarray(clip)


def trim(clip: np.ndarray) -> np.ndarray:
    """The part from the first to the last voiced frame, high-passed, one frame of margin on both sides."""
    clip = sosfiltfilt(butter(2, HIGH_PASS_HZ, "highpass", fs=RATE_HZ, output="sos"), clip)
    frames = clip[: len(clip) // FRAME * FRAME].reshape(-1, FRAME)
    loudness = np.sqrt((frames**2).mean(axis=1))
    voiced = np.flatnonzero(loudness >= VOICED_SHARE * loudness.max())
    return np.asarray(clip[max(voiced[0] - 1, 0) * FRAME : (voiced[-1] + 2) * FRAME])


def pack(sounds: Path) -> dict[str, np.ndarray]:
    """All clips below `usr/share/asterisk/sounds` as int16, keyed `<domain>_<digit>`."""
    clips = {}
    for domain, (_, _, folder) in VOICES.items():
        for digit in range(10):
            path = next((sounds / folder / "digits").glob(f"{digit}.*"))
            clip = np.clip(trim(read_clip(path)), -1.0, 32767 / 32768)
            clips[f"{domain}_{digit}"] = np.round(clip * 32768).astype(np.int16)
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TARGET)
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        debian.fetch([f"{package}={version}" for package, version, _ in VOICES.values()], Path(folder))
        clips = pack(Path(folder) / "usr" / "share" / "asterisk" / "sounds")
    np.savez_compressed(out, allow_pickle=False, **clips)
    seconds = sum(len(clip) for clip in clips.values()) / RATE_HZ
    print(f"{out}: {len(clips)} clips, {seconds:.1f} s, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
