"""One step of a training up to its gradients, with whatever balances the modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omni_model.balancing import hold_back, ogm_factors, pareto_backward
from omni_model.config import TrainConfig
from omni_model.dwa import DwaState
from omni_model.freeze import is_under
from omni_model.losses import CROSS, balanced_loss, loss_parts, own_losses_alone
from omni_model.protocol import Batch, LoopModel, Output


def backward(
    model: LoopModel,
    output: Output,
    batch: Batch,
    config: TrainConfig,
    dwa: DwaState,
    shared: Sequence[nn.Parameter],
    learned: Mapping[str, nn.Parameter],
    rng: torch.Generator,
    extra: Tensor | float = 0.0,
    *,
    epoch: int,
) -> Tensor:
    """Leave the step's gradients in the learned parameters and return the weighted loss, `extra` included.

    Epochs count from 1.
    """
    parts = loss_parts(output, batch, label_smoothing=config.label_smoothing)
    method = config.balance.method
    if epoch <= round(config.balance.alone_share * config.epochs):
        parts = own_losses_alone(parts)
    if method == "pareto" and len(parts) > 1 and CROSS in parts:
        fused, alone = parts[CROSS] + extra, balanced_loss(own_losses_alone(parts), config, dwa, shared)
        pareto_backward(fused, alone, list(learned.values()), own_parameters(model, learned), config.balance.rescale)
        return fused + alone
    loss = balanced_loss(parts, config, dwa, shared) + extra
    torch.autograd.backward(loss)
    if method == "ogm_ge":
        hold_back(own_parameters(model, learned), ogm_factors(output, batch, config.balance.alpha), rng)
    return loss


def own_parameters(model: LoopModel, learned: Mapping[str, nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """The learned parameters that belong to one modality alone, by modality.

    Raises `ValueError` for a model that does not say which these are.
    """
    if not model.own:
        raise ValueError(
            f"{type(model).__name__} does not say which modules are a modality's own, so they cannot be balanced. "
            "Set `own`, or use balance.method none or gradnorm."
        )
    return {
        modality: [parameter for name, parameter in learned.items() if is_under(name, paths)]
        for modality, paths in model.own.items()
    }
