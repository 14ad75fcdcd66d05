"""What measuring the gradient norms of the losses costs a training step, at the product's default size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.harness import Figure, figure, paired_ratio
from omni_model.config import DwaConfig, ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.dwa import DwaState
from omni_model.features import Batcher, prepare_samples
from omni_model.freeze import is_under
from omni_model.losses import balanced_loss, loss_parts
from omni_model.model import OmniModel

ROWS = 32


def overhead(repeats: int) -> dict[str, Figure]:
    """Share of a step's CPU time that the norms add, measured at every step and at every tenth."""
    torch.manual_seed(0)
    model = OmniModel(ModelConfig(), [tri_digits.TASK])
    batch = Batcher(model, prepare_samples(model, tri_digits.load(["en"])[:ROWS]))
    rows = torch.arange(ROWS)
    shared = [p for name, p in model.named_parameters() if is_under(name, model.shared)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    plain = TrainConfig(unimodal_weight=1.0)

    def steps(config: TrainConfig, count: int) -> Callable[[], None]:
        def run() -> None:
            dwa = DwaState(config.dwa)
            for _ in range(count):
                now = batch(rows)
                parts = loss_parts(model(now), now, label_smoothing=0.05)
                loss = balanced_loss(parts, config, dwa, shared)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                optimizer.step()

        return run

    every_step = replace(plain, loss="dwa", dwa=DwaConfig())
    every_tenth = replace(plain, loss="dwa", dwa=DwaConfig(every=10))
    made = {}
    for name, config, count in (("", every_step, 1), ("_every_tenth", every_tenth, 10)):
        ratio = paired_ratio(steps(config, count), steps(plain, count), max(2, repeats if count == 1 else repeats // 4))
        made[f"dwa_overhead_share{name}"] = figure(ratio.value - 1, "share", spread=ratio.spread, n=ratio.n)
    return made
