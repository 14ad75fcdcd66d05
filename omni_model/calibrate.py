"""Calibration (Guo et al. 2017): the temperature that minimises the validation loss of a model's probabilities.

One for the whole model; on request one more for each combination of modalities, as a model may be sure of itself with
all its senses and too sure with one.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from omni_model.features import Batcher, FeatureSet
from omni_model.protocol import LoopModel

MIN_ROWS = 50
"""Validation rows below which a combination of modalities keeps the temperature of all."""
MOST_MODALITIES = 6


@torch.no_grad()
def calibrate(model: LoopModel, val: Batcher, *, by_subset: bool = False) -> float:
    """Set and return the model's temperature; without a validation target it stays as it is.

    `by_subset` also fits one for each combination of modalities, on the rows that have them all, with the others
    hidden; without it, what was fitted so before is dropped, as it belongs to other weights.
    """
    model.eval()
    model.temperatures = {}
    logits, targets = masked_logits(model, val)
    if len(targets):
        model.temperature = best_temperature(logits, targets)
    if by_subset:
        model.temperatures = subset_temperatures(model, val.features)
    return model.temperature


def subset_temperatures(model: LoopModel, val: FeatureSet) -> dict[str, float]:
    """The best temperature by combination, such as `audio+image`; those with fewer rows than `MIN_ROWS` have none."""
    val = val.select(val.labelled)
    there = val.modalities
    names = sorted({name for row in there for name in row})
    found: dict[str, float] = {}
    for size in range(1, len(names) + 1) if len(names) <= MOST_MODALITIES else ():
        for subset in combinations(names, size):
            rows = [at for at, row in enumerate(there) if set(subset) <= row]
            if len(rows) >= MIN_ROWS:
                shown = Batcher(model, val.select(rows).only(subset))
                found["+".join(subset)] = best_temperature(*masked_logits(model, shown))
    return found


@torch.no_grad()
def masked_logits(model: LoopModel, rows: Batcher) -> tuple[Tensor, Tensor]:
    """Logits [N, A], float64, -inf outside each row's task, and targets [N], of the rows with a target."""
    allowed_KA = model.answer_masks()
    logits, targets = [torch.zeros(0, allowed_KA.shape[1], dtype=torch.float64)], [torch.zeros(0, dtype=torch.int64)]
    for batch in rows.all(256):
        known = batch.target >= 0
        masked = model(batch).logits.masked_fill(~allowed_KA.to(batch.task.device)[batch.task], -torch.inf)
        logits.append(masked[known].double().cpu())
        targets.append(batch.target[known].cpu())
    return torch.cat(logits), torch.cat(targets)


def best_temperature(logits_NA: Tensor, target_N: Tensor, low: float = 0.25, high: float = 8.0) -> float:
    """Golden-section search for the temperature in [low, high] with the lowest negative log-likelihood.

    >>> best_temperature(torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])) > 3
    True
    """
    ratio = (math.sqrt(5) - 1) / 2
    left, right = math.log(low), math.log(high)
    for _ in range(40):
        a, b = right - ratio * (right - left), left + ratio * (right - left)
        if _loss(logits_NA, target_N, a) < _loss(logits_NA, target_N, b):
            right = b
        else:
            left = a
    return round(math.exp((left + right) / 2), 6)


def _loss(logits_NA: Tensor, target_N: Tensor, log_temperature: float) -> float:
    return float(cross_entropy(logits_NA / math.exp(log_temperature), target_N))
