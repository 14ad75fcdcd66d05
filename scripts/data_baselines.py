"""How hard the data sets are: logistic regression on plain features, each modality alone and all together.

`python scripts/data_baselines.py` prints the table of tri-digits in `docs/data.md`; with `--tux DIR` and `--vqa DIR`,
folders that the builders filled, those of the other two. Tests on the test split, trains on the rest. A modality alone
is scored where it is present; together, every sample is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from omni_model.data import tri_digits
from omni_model.data.manifest import ManifestRow, read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import decode_sample
from omni_model.data.splits import split_of
from omni_model.sample import Sample, Value, load_task

WINDOW, HOP, BANDS = 256, 80, 26
STRENGTH = {"image": 0.01, "audio": 1.0, "text": 0.1, "instruction": 0.1}
"""Inverse of the regularisation, chosen on tri-digits."""


def pixels(value: Value) -> np.ndarray:
    """Colour means of a 16 x 16 grid."""
    return np.asarray(Image.fromarray(np.asarray(value)).resize((16, 16), Image.Resampling.BOX), dtype=float).ravel()


def spectrum(value: Value) -> np.ndarray:
    """Mean, deviation and 90th percentile over time of the log energy in 26 bands above each band's floor."""
    sound = np.pad(np.asarray(value), (0, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, 512, axis=1)) ** 2
    edges = np.unique(np.geomspace(4, 257, BANDS + 1).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-4)
    bands -= np.percentile(bands, 10, axis=0)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0), np.percentile(bands, 90, axis=0)])


def features(samples: Sequence[Sample], modality: str, fit_on: np.ndarray) -> np.ndarray:
    """One row per sample, zeros where the modality is absent."""
    if modality in ("text", "instruction"):
        texts = [s.instruction if modality == "instruction" else str(s.inputs.get("text", "")) for s in samples]
        counter = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3), min_df=2, max_features=5000)
        counter.fit([text for text, taken in zip(texts, fit_on, strict=True) if taken])
        return np.asarray(counter.transform(texts).toarray(), dtype=float)
    make: Callable[[Value], np.ndarray] = {"image": pixels, "audio": spectrum}[modality]
    rows = [make(sample.inputs[modality]) if modality in sample.inputs else None for sample in samples]
    width = next(len(row) for row in rows if row is not None)
    return np.stack([np.zeros(width) if row is None else row for row in rows])


def scores(samples: Sequence[Sample], modalities: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Accuracy and balanced accuracy of each modality alone, and of all together by the product of probabilities."""
    train = np.array([split_of(sample.item) != "test" for sample in samples])
    answers = np.array([sample.answer for sample in samples])
    together = np.zeros((int((~train).sum()), len(np.unique(answers))))
    found = {}
    for name in modalities:
        table = StandardScaler().fit_transform(features(samples, name, train))
        present = np.array([name == "instruction" or name in sample.inputs for sample in samples])
        model = LogisticRegression(C=STRENGTH[name], max_iter=500).fit(table[train & present], answers[train & present])
        logs = model.predict_log_proba(table[~train & present])
        found[name] = judged(model.classes_[logs.argmax(axis=1)], answers[~train & present])
        together[present[~train]] += logs
    found["all"] = judged(np.unique(answers)[together.argmax(axis=1)], answers[~train])
    return found


def judged(guesses: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    return float(np.mean(guesses == truth)), float(balanced_accuracy_score(truth, guesses))


def read_folder(folder: Path, domain: str | None, every: int) -> Iterator[Sample]:
    """Samples of a manifest; one in `every` items."""
    task = load_task(next((folder / "tasks").iterdir()))
    for row in read_manifest(folder / "manifest.jsonl"):
        if isinstance(row, ManifestRow) and domain in (None, row.domain) and hash_of(row.item) % every == 0:
            content = {name: read_ref(ref, base=folder) for name, ref in row.inputs.items()}
            yield decode_sample(row, content, {task.name: task})


def hash_of(item: str) -> int:
    return sum(item.encode()) * 7919


def show(name: str, found: dict[str, tuple[float, float]]) -> None:
    cells = " | ".join(f"{plain:.3f} ({balanced:.3f})" for plain, balanced in found.values())
    print(f"| {name} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tux", type=Path)
    parser.add_argument("--vqa", type=Path)
    given = parser.parse_args()
    names = ("image", "audio", "text")
    print("| trained and tested on |", " | ".join((*names, "all")), "|\n|---|---|---|---|---|")
    for domain in tri_digits.DOMAINS:
        show(domain, scores(tri_digits.load([domain]), names))
    show("all six", scores(tri_digits.load(), names))
    if given.tux:
        for domain in ("fr", "es"):
            show(f"tux {domain}", scores(list(read_folder(given.tux, domain, 1)), names))
    if given.vqa:
        show("easy-vqa, an eighth", scores(list(read_folder(given.vqa, None, 8)), ("image", "instruction")))


if __name__ == "__main__":
    main()
