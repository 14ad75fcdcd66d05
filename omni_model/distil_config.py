"""How a light model is taught. A frozen value, checked when made; importing this file imports no torch.

>>> DistilConfig(hide=1.0)
Traceback (most recent call last):
ValueError: hide must lie within [0, 0.9], got 1.0. 0 hides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from omni_model.config import check_above_zero, check_range


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """How a light model is taught."""

    epochs: int = 10
    """Passes over the rows; 0 teaches nothing."""
    batch_rows: int = 32
    """Rows a step."""
    learning_rate: float = 1e-3
    """Of the first step (AdamW); it falls to 0 along a cosine."""
    hide: float = 0.1
    """Probability with which a modality or a token is hidden from the light model."""
    seed: int = 0
    """Of order, hiding and dropout."""

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 0, 10**6, "0 teaches nothing.")
        check_range("batch_rows", self.batch_rows, 1, 10**6, "32 is usual.")
        check_above_zero("learning_rate", self.learning_rate, "A usual value is 0.001.")
        check_range("hide", self.hide, 0.0, 0.9, "0 hides nothing.")
