"""The data of the science benchmark, made worse on purpose where that is the question; built once and kept.

Splits are by item and the same for every seed; tri-digits is rendered anew for each seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.science_cache import folder
from omni_model.data import easy_vqa, tri_digits, tux_paint
from omni_model.data.manifest import read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import ManifestRow, decode_sample
from omni_model.data.seeding import rng_of
from omni_model.data.splits import SPLITS, split_of
from omni_model.sample import Sample, TaskSpec, Value

LETTERS = "abcdefghijklmnopqrstuvwxyz"
Spoil = Callable[[Value, np.random.Generator], Value]


@dataclass(frozen=True, kw_only=True)
class World:
    """Samples of three splits, and what they are about."""

    task: TaskSpec
    modalities: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]


def digits(seed: int, rows: int | None = None) -> World:
    """Tri-digits, all six domains."""
    return _split(tri_digits.load(seed=seed), rows)


def biased_digits(seed: int, rows: int | None = None) -> World:
    """Tri-digits with the text as it is, noisier pictures and noisier sounds: one clean modality and two noisy ones."""
    noisy = [spoilt(spoilt(row, "image", 0.35), "audio", 0.7) for row in tri_digits.load(seed=seed)]
    return _split(noisy, rows)


def questions(seed: int, rows: int | None = None, train: int = 2000, test: int = 2000) -> World:
    """Easy-VQA: question and picture as two modalities. The seed draws which rows are used of train and of val."""
    made = folder() / "easy-vqa"
    known = [row for row in read_manifest(easy_vqa.build(made)) if isinstance(row, ManifestRow)]
    num = {"train": train, "val": 500, "test": test}
    parts = {}
    for split in SPLITS:
        having = [row for row in known if split_of(row.item or row.id) == split]
        drawn = np.random.default_rng(0 if split == "test" else seed).permutation(len(having))
        parts[split] = [_as_two_modalities(having[at], made) for at in drawn[: min(num[split], rows or num[split])]]
    return World(task=easy_vqa.TASK, modalities=("image", "text"), **parts)


def stamps(seed: int, rows: int | None = None, train: int = 1200) -> World:
    """Tux Paint in French, Spanish and Catalan: picture, name and spoken description of a stamp."""
    made = folder() / "tux"
    path = tux_paint.build(made)
    wanted = ("fr", "es", "ca")
    known = [row for row in read_manifest(path) if isinstance(row, ManifestRow) and (row.domain or "").endswith(wanted)]
    parts = {}
    for split in SPLITS:
        having = [row for row in known if split_of(row.item or row.id) == split]
        drawn = np.random.default_rng(0 if split == "test" else seed).permutation(len(having))
        parts[split] = [_decoded(having[at], made, tux_paint.TASK) for at in drawn[: min(train, rows or train)]]
    return World(task=tux_paint.TASK, modalities=("audio", "image", "text"), **parts)


def spoilt(sample: Sample, modality: str, strength: float) -> Sample:
    """One modality made worse, the same way each time: noise on pictures and sounds, wrong letters in texts.

    `strength` is the noise's standard deviation in units of the full range (pictures) or of the loudest sound's root
    mean square times four (sounds), or the share of letters that are wrong.
    """
    value = sample.inputs.get(modality)
    if value is None:
        return sample
    rng = rng_of(f"{sample.id} {modality} {strength}")
    return replace(sample, inputs={**sample.inputs, modality: _SPOIL[modality](value, rng, strength)})


def _image(value: Value, rng: np.random.Generator, strength: float) -> Value:
    assert isinstance(value, np.ndarray)
    noisy = value.astype(np.float32) + 255 * strength * rng.normal(size=(*value.shape[:2], 1))
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _audio(value: Value, rng: np.random.Generator, strength: float) -> Value:
    assert isinstance(value, np.ndarray)
    spread = 4 * strength * float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0
    return np.clip(value + spread * rng.normal(size=value.shape), -1, 1).astype(np.float32)


def _text(value: Value, rng: np.random.Generator, strength: float) -> Value:
    assert isinstance(value, str)
    wrong = rng.random(len(value)) < strength
    return "".join(LETTERS[rng.integers(26)] if bad else letter for letter, bad in zip(value, wrong, strict=True))


_SPOIL: Mapping[str, Callable[[Value, np.random.Generator, float], Value]] = {
    "image": _image,
    "audio": _audio,
    "text": _text,
}


def _split(samples: Sequence[Sample], rows: int | None) -> World:
    parts: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for sample in samples:
        parts[split_of(sample.item)].append(sample)
    every = {split: 1 + len(part) // (rows or len(part) + 1) for split, part in parts.items()}
    return World(
        task=tri_digits.TASK,
        modalities=("audio", "image", "text"),
        **{split: part[:: every[split]] for split, part in parts.items()},
    )


def _decoded(row: ManifestRow, base: Path, task: TaskSpec) -> Sample:
    return decode_sample(row, {name: read_ref(ref, base=base) for name, ref in row.inputs.items()}, {task.name: task})


def _as_two_modalities(row: ManifestRow, base: Path) -> Sample:
    sample = _decoded(row, base, easy_vqa.TASK)
    inputs = {**sample.inputs, "text": sample.instruction}
    return replace(sample, instruction=easy_vqa.TASK.instructions[0], inputs=inputs)
