"""Real versions for the gate: trained and tuned on tri-digits, then asked the same held-out samples.

Their answers are all that is used, so the truth about a stream drawn from them is known: it is the population's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import torch
from numpy.typing import NDArray

from monitoring.outcomes import PairedOutcomes
from monitoring.pairing import pair
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.elastic import tune
from omni_model.evaluate import Predictions, predict
from omni_model.features import encode_samples
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.train import fit

Bools = NDArray[np.bool_]
EARLY, LATE = tri_digits.DOMAINS[:3], tri_digits.DOMAINS[3:]


@dataclass(frozen=True, kw_only=True)
class RealVersions:
    """What three real versions answered to the same held-out samples."""

    base: Predictions
    """Trained on the first three domains."""
    tuned: Predictions
    """The base, tuned on the last three with replay."""
    retuned: Predictions
    """The base, tuned once more in the same way with another seed: a version as good as `tuned`, but another one."""
    items: dict[str, str]

    def outcomes(self, old: str, new: str, measured_at: datetime) -> PairedOutcomes:
        """Two of them paired, by name."""
        return pair(
            getattr(self, old),
            getattr(self, new),
            old_version=1,
            new_version=2,
            measured_at=measured_at,
            items=self.items,
        )

    def right(self, name: str) -> Bools:
        """`[N]`, whether a version answered rightly."""
        predictions: Predictions = getattr(self, name)
        return np.asarray(predictions.answer == predictions.target)


def train_versions(*, seed: int, epochs: int, tune_epochs: int, say: Callable[[str], None]) -> RealVersions:
    """Train the base and tune it twice; minutes, most of them for the base."""
    samples = tri_digits.load(seed=seed)
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for sample in samples:
        parts[split_of(sample.item)].append(sample)
    early = [sample for sample in parts["train"] if sample.domain in EARLY]
    late = [sample for sample in parts["train"] if sample.domain in LATE]
    held_out = parts["val"] + parts["test"]
    torch.manual_seed(seed)
    base = OmniModel(ModelConfig(), [tri_digits.TASK])
    say(f"training the base on {len(early)} samples of {', '.join(EARLY)}")
    fit(
        base,
        early,
        [sample for sample in parts["val"] if sample.domain in EARLY],
        TrainConfig(epochs=epochs),
        seed=seed,
    )
    replay, new, val = (encode_samples(base, rows) for rows in (early, late, parts["val"]))
    versions = {"base": base}
    for offset, name in enumerate(("tuned", "retuned")):
        say(f"tuning it on {len(late)} samples of {', '.join(LATE)}, seed {seed + offset}")
        versions[name] = copy.deepcopy(base)
        tune(versions[name], new, replay, val, ElasticConfig(epochs=tune_epochs), seed=seed + offset)
    features = encode_samples(base, held_out)
    answers = {name: predict(model, features) for name, model in versions.items()}
    return RealVersions(**answers, items={sample.id: sample.item for sample in held_out})


def exchanged(old_N: Bools, new_N: Bools, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Bools, Bools]:
    """Streams of two versions that are equal in truth: real pairs drawn at random, their sides exchanged by a coin."""
    drawn = rng.integers(0, len(old_N), shape)
    is_exchanged = rng.random(shape, dtype=np.float32) < 0.5
    first, second = old_N[drawn], new_N[drawn]
    return np.where(is_exchanged, second, first), np.where(is_exchanged, first, second)


def fallen(
    old_N: Bools, new_N: Bools, worse_N: Bools, fall: float, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Bools, Bools]:
    """Streams with a known relative fall: equal versions as in `exchanged`, but a worse one answers some requests.

    The share that it answers is what makes the fall true; `ValueError` if it is not bad enough.
    """
    drawn = rng.integers(0, len(old_N), shape)
    accuracy = (old_N.mean() + new_N.mean()) / 2
    share = fall * accuracy / max(accuracy - worse_N.mean(), 1e-9)
    if not 0 <= share <= 1:
        raise ValueError(
            f"The worse version has {worse_N.mean():.3f} right, too many for a relative fall of {fall} from "
            f"{accuracy:.3f}. Give a worse one."
        )
    is_exchanged = rng.random(shape, dtype=np.float32) < 0.5
    first = np.where(is_exchanged, new_N[drawn], old_N[drawn])
    second = np.where(is_exchanged, old_N[drawn], new_N[drawn])
    return first, np.where(rng.random(shape, dtype=np.float32) < share, worse_N[drawn], second)
