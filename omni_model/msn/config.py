"""How modalities are chosen. Frozen values, checked when made; importing this file imports nothing heavy.

>>> MsnConfig(max_leaves=1)
Traceback (most recent call last):
ValueError: msn.max_leaves must be 2 or more, got 1. Set OMNI_MSN__MAX_LEAVES.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MsnConfig:
    """How a selector is measured and fitted."""

    max_leaves: int = 256
    """Leaves of the tree at most."""
    prior_rows: float = 30.0
    """Rows that the accuracy with other modalities hidden counts for, beside rows with exactly those in question."""
    max_rows: int = 2000
    """Validation samples that are measured at most, taken at even distances."""
    min_rows: int = 10
    """Samples below which an accuracy is not believed, and the situation is left to the tree's other branches."""
    cost_rows: int = 8
    """Samples of a task whose computing is timed one by one."""
    batch_rows: int = 32
    """Samples of a task whose computing is timed together."""
    max_loss: float = 0.0
    """Share of answers, 0-1, that may be lost by stopping early where an answer is sure; 0: no chain is fitted."""
    chain_rows: int = 100
    """Samples below which no chain is fitted for a task and a set of modalities."""
    cost_repeats: int = 5
    """Times that each is timed; the quickest counts, since other work only adds to it."""

    def __post_init__(self) -> None:
        for name, least in (
            ("max_leaves", 2),
            ("min_rows", 1),
            ("cost_rows", 1),
            ("batch_rows", 1),
            ("cost_repeats", 1),
            ("chain_rows", 10),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"msn.{name} must be {least} or more, got {getattr(self, name)}. Set OMNI_MSN__{name.upper()}."
                )
        if not 0 <= self.max_loss < 1:
            raise ValueError(f"msn.max_loss must lie in [0, 1), got {self.max_loss}. Set OMNI_MSN__MAX_LOSS.")
        if not 0 <= self.prior_rows < float("inf"):
            raise ValueError(f"msn.prior_rows must be 0 or more, got {self.prior_rows}. Set OMNI_MSN__PRIOR_ROWS.")
