"""Published methods against modality bias: GradNorm, OGM-GE and MMPareto, each a function of losses and gradients.

Shapes: B batch, A answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omni_model.balance_config import BalanceConfig
from omni_model.protocol import Batch, Output


def gradnorm_weights(
    weights: Mapping[str, float], norms: Mapping[str, float], rates: Mapping[str, float], config: BalanceConfig
) -> dict[str, float]:
    """One step of GradNorm (Chen et al. 2018, eq. 2): weights of the losses that sum to their number.

    Norms are those of the unweighted losses, rates each loss over its first. The loss of the weights,
    sum_i |w_i G_i - mean(w G) (r_i / mean r)^alpha| with the target held fixed, goes down by its sign.

    >>> ones = {"a": 1.0, "b": 1.0}
    >>> made = gradnorm_weights(ones, {"a": 3.0, "b": 1.0}, ones, BalanceConfig(rate=0.1))
    >>> {name: round(weight, 3) for name, weight in made.items()}
    {'a': 0.778, 'b': 1.222}
    """
    if not norms:
        return dict(weights)
    sizes = {name: weights.get(name, 1.0) * norm for name, norm in norms.items()}
    mean_size = sum(sizes.values()) / len(sizes)
    mean_rate = max(sum(rates[name] for name in norms) / len(norms), 1e-12)
    moved = {}
    for name, norm in norms.items():
        goal = mean_size * (rates[name] / mean_rate) ** config.alpha
        slope = norm if sizes[name] > goal else -norm if sizes[name] < goal else 0.0
        moved[name] = max(weights.get(name, 1.0) - config.rate * slope, 1e-3)
    total = sum(moved.values())
    return {**weights, **{name: weight * len(moved) / total for name, weight in moved.items()}}


def ogm_factors(output: Output, batch: Batch, alpha: float) -> dict[str, float]:
    """OGM-GE (Peng et al. 2022, eq. 8-10): the factor on each modality's gradients, 1 for those that are not ahead.

    A modality's score is the mean probability that it gives to the right answer by itself, its lead that score over
    the mean of the others'; above 1 the factor is 1 - tanh(alpha lead). Fewer than two modalities give all 1.
    """
    scores: dict[str, float] = {}
    known_B = batch.target >= 0
    for name, logits_BA in output.modality_logits.items():
        rows_B = known_B & batch.masks[name].any(dim=1)
        if bool(rows_B.any()):
            probs_BA = logits_BA[rows_B].detach().float().softmax(dim=1)
            scores[name] = float(probs_BA.gather(1, batch.target[rows_B, None]).mean())
    return factors_of(scores, alpha)


def factors_of(scores: Mapping[str, float], alpha: float) -> dict[str, float]:
    """Factors from scores.

    >>> made = factors_of({"text": 0.8, "image": 0.4}, alpha=0.5)
    >>> {name: round(factor, 3) for name, factor in made.items()}
    {'text': 0.238, 'image': 1.0}
    """
    made = {}
    for name, score in scores.items():
        others = [other for key, other in scores.items() if key != name]
        lead = score / max(sum(others) / len(others), 1e-12) if others else 1.0
        made[name] = 1.0 - float(torch.tensor(alpha * lead).tanh()) if lead > 1 else 1.0
    return made


@torch.no_grad()
def hold_back(own: Mapping[str, Sequence[nn.Parameter]], factors: Mapping[str, float], rng: torch.Generator) -> None:
    """Scale the gradients of modalities that are ahead, and add noise as large as what is left (the GE of OGM-GE)."""
    for name, factor in factors.items():
        if factor == 1.0:
            continue
        for parameter in own.get(name, ()):
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
                if parameter.grad.numel() > 1:
                    noise = torch.randn(parameter.grad.shape, generator=rng).to(parameter.grad.device)
                    parameter.grad.add_(noise * parameter.grad.std())


def pareto_backward(
    fused: Tensor,
    alone: Tensor,
    learned: Sequence[nn.Parameter],
    own: Mapping[str, Sequence[nn.Parameter]],
    rescale: float,
) -> None:
    """Set gradients: the sum of both losses', but within each modality's own parameters combined as MMPareto does."""
    one = torch.autograd.grad(fused, learned, retain_graph=True, allow_unused=True)
    two = torch.autograd.grad(alone, learned, allow_unused=True)
    pairs = dict(zip(learned, zip(one, two, strict=True), strict=True))
    for parameter, pair in pairs.items():
        there = [gradient for gradient in pair if gradient is not None]
        parameter.grad = torch.stack(there).sum(dim=0) if there else None
    for parameters in own.values():
        both = [p for p in parameters if p in pairs and all(gradient is not None for gradient in pairs[p])]
        if both:
            flat = [torch.cat([pairs[p][side].flatten() for p in both]) for side in (0, 1)]
            _spread(pareto_direction(flat[0], flat[1], rescale), both)


def _spread(combined_N: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """A flat gradient to the parameters that it belongs to."""
    start = 0
    for parameter in parameters:
        parameter.grad = combined_N[start : start + parameter.numel()].reshape(parameter.shape).clone()
        start += parameter.numel()


def pareto_direction(fused_N: Tensor, alone_N: Tensor, rescale: float) -> Tensor:
    """MMPareto (Wei and Hu 2024): the sum where both agree, else the shortest combination, at least as long, rescaled.

    >>> pareto_direction(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]), 1.0)
    tensor([0.4472, 0.8944])
    """
    total = fused_N + alone_N
    if bool(fused_N @ alone_N >= 0):
        return rescale * total
    gap = alone_N - fused_N
    share = ((gap @ alone_N) / gap.square().sum().clamp(min=1e-24)).clamp(0.0, 1.0)
    shortest = 2 * (share * fused_N + (1 - share) * alone_N)
    longer = (total.norm() / shortest.norm().clamp(min=1e-12)).clamp(min=1.0)
    combined_N: Tensor = rescale * longer * shortest
    return combined_N
