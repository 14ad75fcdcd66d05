"""What a selection gives: the rows of both arms, and the counts that say what was left out and why."""

from dataclasses import dataclass
from typing import Literal

Arm = Literal["uncertainty", "control"]


@dataclass(frozen=True, kw_only=True)
class SelectedRow:
    """One row to be labelled."""

    id: str
    domain: str
    arm: Arm
    score: float
    """What the acquisition function said of it; for `core_set`'s own arm the distance to the nearest centre."""
    rank: int
    """Place within its arm, from 1; in the control arm the place of the draw."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of the uncertainty arm by rank, then those of the control arm."""

    acquisition: str
    rows: tuple[SelectedRow, ...]
    num_seen: int
    """Candidates in the stream."""
    num_invalid: int
    """Candidates that could not be judged: NaN or broken probabilities, embedding or score. Never selected."""
    num_duplicates_skipped: int
    """Rows passed over because enough of their near-duplicates were taken."""
    num_over_quota: int
    """Rows passed over because their domain had its quota."""
    num_repeated_ids: int
    """Rows passed over because a row of the same id was taken."""
    num_short: int
    """Rows by which the budget was not filled."""

    def arm(self, name: Arm) -> tuple[SelectedRow, ...]:
        """The rows of one arm, by rank."""
        return tuple(row for row in self.rows if row.arm == name)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all rows, uncertainty arm first."""
        return tuple(row.id for row in self.rows)
