"""Published methods against modality bias, as options of training. Importing this file imports no torch.

>>> BalanceConfig(method="gradnorm").alpha
1.5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["none", "gradnorm", "ogm_ge", "pareto"]


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """How the modalities are kept from leaving the work to one of them. Off by default: see docs/science.md."""

    method: Method = "none"
    """`gradnorm`: weights of the losses are learned until their gradients are of like size (Chen et al. 2018).
    `ogm_ge`: gradients of the modality ahead are made smaller, and noisy (Peng et al. 2022). `pareto`: gradients
    of the fused answer and of a modality's own that point apart are combined so that neither is hurt (MMPareto, Wei and
    Hu 2024)."""
    alpha: float = 1.5
    """`gradnorm`: how strongly losses that lag are pulled up. `ogm_ge`: how strongly the one ahead is held back."""
    rate: float = 0.025
    """`gradnorm`: learning rate of the weights."""
    rescale: float = 1.5
    """`pareto`: factor on the length of the combined gradient."""
    alone_share: float = 0.0
    """Share of the epochs, from the first, in which each modality learns from its own loss alone."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            names = ", ".join(get_args(Method))
            raise ValueError(f"balance.method must be one of {names}, got {self.method!r}. Choose one of them.")
        for name in ("alpha", "rate", "rescale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"balance.{name} must be above 0, got {getattr(self, name)!r}. The default is usual.")
        if not 0.0 <= self.alone_share < 1.0:
            raise ValueError(
                f"balance.alone_share must lie within [0, 1), got {self.alone_share!r}. Leave some to the fused answer."
            )
