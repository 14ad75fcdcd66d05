"""DWA, dynamic weighting of the losses by their gradient norms (S2).

The printed formula is w_i = 1 / (1 + exp(-k (|g_i - mean(g)| - delta))), g_i the L2 norm of the unweighted loss's
gradient. It raises every loss whose gradient is far from the mean, the dominant one too; `DwaConfig` has options.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omni_model.config import Deviation, DwaConfig


def dwa_weights(values: Mapping[str, float], config: DwaConfig = DwaConfig()) -> dict[str, float]:  # noqa: B008
    """Weight of each loss from its gradient norm (or training rate). Nothing in, nothing out.

    >>> {name: round(w, 4) for name, w in dwa_weights({"text": 1.0, "image": 2.0, "cross": 6.0}).items()}
    {'text': 0.8808, 'image': 0.7311, 'cross': 0.9526}
    """
    if not values:
        return {}
    mean = sum(values.values()) / len(values)
    unit = max(abs(mean), 1e-12) if config.relative else 1.0
    gaps = {name: _deviation((value - mean) / unit, config.deviation) for name, value in values.items()}
    weights = {name: _sigmoid(config.k * (gap - config.delta)) for name, gap in gaps.items()}
    if config.normalise:
        total = max(sum(weights.values()), 1e-12)
        weights = {name: weight * len(weights) / total for name, weight in weights.items()}
    return {name: min(max(weight, config.low), config.high) for name, weight in weights.items()}


def _deviation(gap: float, kind: Deviation) -> float:
    if kind == "abs":
        return abs(gap)
    return -gap if kind == "signed_lag" else gap


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


@dataclass
class DwaState:
    """Weights over the course of a training. JSON-able by `as_dict`, so that a killed training resumes alike."""

    config: DwaConfig
    step: int = 0
    num_bad: int = 0
    """Steps at which a measurement was not finite and the last weights were kept."""
    weights: dict[str, float] = field(default_factory=dict)
    averages: dict[str, list[float]] = field(default_factory=dict)
    """By loss: running sum and its bias correction."""
    first_losses: dict[str, float] = field(default_factory=dict)
    total_weight: float = 0.0
    """Mean weight of the losses, summed over `weighted_steps`."""
    weighted_steps: int = 0

    @property
    def rate_factor(self) -> float:
        """Mean weight over the steps so far: by how much the weights have changed the learning rate; 1 before any."""
        return self.total_weight / self.weighted_steps if self.weighted_steps else 1.0

    @property
    def due(self) -> bool:
        """Whether this step measures the gradients."""
        return self.step >= self.config.warmup_steps and (self.step - self.config.warmup_steps) % self.config.every == 0

    def update(self, norms: Mapping[str, float], losses: Mapping[str, float]) -> None:
        """Take a measurement of the losses that are present. Absent ones leave mean and sum, and keep their weight."""
        measured = norms if self.config.reference == "mean" else self.rates(losses)
        if not measured or not all(math.isfinite(value) for value in measured.values()):
            self.num_bad += bool(measured)
            return
        smooth = {name: self._average(name, value) for name, value in measured.items()}
        self.weights.update(dwa_weights(smooth, self.config))

    def take(self, names: Iterable[str]) -> dict[str, float]:
        """The weights of a step, which is counted."""
        taken = {name: self.weight(name) for name in names}
        self.total_weight += sum(taken.values()) / max(1, len(taken))
        self.weighted_steps += 1
        self.step += 1
        return taken

    def weight(self, name: str) -> float:
        """The weight of a loss now; 1 before its first measurement."""
        return self.weights.get(name, 1.0)

    def as_dict(self) -> dict[str, Any]:
        """State without the config."""
        return {
            "step": self.step,
            "num_bad": self.num_bad,
            "weights": dict(self.weights),
            "averages": {name: list(pair) for name, pair in self.averages.items()},
            "first_losses": dict(self.first_losses),
            "total_weight": self.total_weight,
            "weighted_steps": self.weighted_steps,
        }

    def _average(self, name: str, value: float) -> float:
        total, correction = self.averages.get(name, [0.0, 0.0])
        decay = self.config.ema
        total, correction = decay * total + (1 - decay) * value, decay * correction + (1 - decay)
        self.averages[name] = [total, correction]
        return total / correction

    def rates(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Loss over first finite loss: small where a loss has fallen a lot (GradNorm's training rate)."""
        for name, loss in losses.items():
            if math.isfinite(loss):
                self.first_losses.setdefault(name, loss)
        return {name: loss / max(self.first_losses.get(name, math.nan), 1e-12) for name, loss in losses.items()}
