"""The modality-balanced loss (S2): the fused answer's loss and each modality's own, weighted.

L = w_cross L_cross + sum_m w_m L_m. A modality's loss is the mean over the rows that have it; one that no row has is
left out, and so is every row without a target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from omni_model.balancing import gradnorm_weights
from omni_model.config import TrainConfig
from omni_model.dwa import DwaState
from omni_model.protocol import Batch, Output

CROSS = "cross"


def loss_parts(output: Output, batch: Batch, *, label_smoothing: float = 0.0) -> dict[str, Tensor]:
    """The unweighted losses by name, `CROSS` first. No row with a target gives no losses."""
    known_B = batch.target >= 0
    parts: dict[str, Tensor] = {}
    if not bool(known_B.any()):
        return parts
    parts[CROSS] = cross_entropy(output.logits[known_B], batch.target[known_B], label_smoothing=label_smoothing)
    for name, logits_BA in output.modality_logits.items():
        rows_B = known_B & batch.masks[name].any(dim=1)
        if bool(rows_B.any()):
            parts[name] = cross_entropy(logits_BA[rows_B], batch.target[rows_B], label_smoothing=label_smoothing)
    return parts


def gradient_norms(parts: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> dict[str, float]:
    """L2 norm of each unweighted loss's gradient at the shared parameters; 0 for a loss that does not reach them."""
    norms = {}
    for name, loss in parts.items():
        gradients = torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True)
        squares = [gradient.detach().square().sum() for gradient in gradients if gradient is not None]
        norms[name] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    return norms


def balanced_loss(
    parts: Mapping[str, Tensor], config: TrainConfig, dwa: DwaState, shared: Sequence[nn.Parameter]
) -> Tensor:
    """The weighted sum; with `dwa`, weights are measured first if it is their turn.

    Raises `ValueError` without parts.
    """
    if not parts:
        raise ValueError("No row of the batch has a target, so there is no loss. Train on labelled rows.")
    weights = loss_weights(parts, config, dwa, shared)
    return torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()


def loss_weights(
    parts: Mapping[str, Tensor], config: TrainConfig, dwa: DwaState, shared: Sequence[nn.Parameter]
) -> dict[str, float]:
    """The weight of each loss in this step: fixed, or from gradient norms by DWA or GradNorm, measured if it is due."""
    gradnorm = config.balance.method == "gradnorm"
    if config.loss != "dwa" and not gradnorm:
        return {name: 1.0 if name == CROSS else config.unimodal_weight for name in parts}
    if dwa.due:
        losses = {name: float(loss.detach()) for name, loss in parts.items()}
        norms = gradient_norms(parts, shared)
        if not gradnorm:
            dwa.update(norms, losses)
        elif all(math.isfinite(value) for value in (*norms.values(), *losses.values())):
            dwa.weights = gradnorm_weights(dwa.weights, norms, dwa.rates(losses), config.balance)
        else:
            dwa.num_bad += 1
    return dwa.take(parts)


def own_losses_alone(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The losses without that of the fused answer, if any modality has its own; else all of them."""
    return {name: loss for name, loss in parts.items() if name != CROSS} or dict(parts)
