"""Calibration: one temperature a model, the scalar that minimises the validation loss of its probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from omni_model.features import Batcher
from omni_model.protocol import LoopModel


@torch.no_grad()
def calibrate(model: LoopModel, val: Batcher) -> float:
    """Set and return the model's temperature; without a validation target it stays as it is."""
    model.eval()
    allowed_KA = model.answer_masks()
    logits, targets = [], []
    for batch in val.all(256):
        known = batch.target >= 0
        masked = model(batch).logits.masked_fill(~allowed_KA.to(batch.task.device)[batch.task], -torch.inf)
        logits.append(masked[known].double().cpu())
        targets.append(batch.target[known].cpu())
    if sum(len(part) for part in targets):
        model.temperature = best_temperature(torch.cat(logits), torch.cat(targets))
    return model.temperature


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
