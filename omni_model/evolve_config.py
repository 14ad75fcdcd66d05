"""How a search over architectures is run. Importing this file imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from omni_model.config import check_above_zero, check_range


@dataclass(frozen=True, kw_only=True)
class EvolveConfig:
    """The budget of a search, and what a proposal may cost in service."""

    trials: int = 24
    """Architectures looked at, the present one first."""
    epochs: int = 4
    """Passes over the training rows that each is tuned for, from the weights that it shares with the present one."""
    latency_share: float = 1.0
    """Time to answer one sample alone, as a share of the present model's; slower ones are dropped untrained."""
    max_rows: int = 1000
    """Labelled training rows that a trial learns from, at most."""
    min_gain: float = 0.01
    """Share by which a proposal's validation loss must lie below the present architecture's, tuned as long."""
    latency_rows: int = 8
    """Samples whose time is taken, each alone."""
    latency_repeats: int = 5
    """Times that each is answered; the least counts."""

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "max_rows", "latency_rows", "latency_repeats"):
            check_range(name, getattr(self, name), 1, 10**6, "Give a number of at least 1.")
        check_above_zero("latency_share", self.latency_share, "1 allows the time of the present model.")
        check_range("min_gain", self.min_gain, 0.0, 1.0, "0.01 asks for one percent.")
