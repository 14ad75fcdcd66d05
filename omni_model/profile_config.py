"""A time budget for tuning, as an option. Importing this file imports no torch.

>>> ProfileConfig().budget_seconds is None
True
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """How short trials choose what moves and for how long (`micro_profile`). Off by default: see docs/science.md."""

    budget_seconds: float | None = None
    """What a tuning may take, its trials included; None for no budget, so that everything is as it is set."""
    time_share: float = 0.25
    """Share of the budget beyond which no further trial is begun; the first one is in any case."""
    rows_share: float = 0.2
    """Share of the rows that a trial sees; at least 64 rows with an answer, if there are so many."""
    epochs: int = 3
    """Of a trial."""

    def __post_init__(self) -> None:
        if self.budget_seconds is not None and not self.budget_seconds > 0:
            raise ValueError(
                f"profile.budget_seconds must be above 0, got {self.budget_seconds!r}. Unset it for no budget."
            )
        for name in ("time_share", "rows_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"profile.{name} must lie within (0, 1], got {getattr(self, name)!r}. 0.2 is usual.")
        if not 2 <= self.epochs <= 1000:
            raise ValueError(f"profile.epochs must lie within [2, 1000], got {self.epochs!r}. 3 is usual.")
