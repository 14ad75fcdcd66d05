"""The record of what a person wants to know first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Glance:
    """Counts that together tell how busy it is and what waits."""

    traffic: tuple[int, ...]
    """Answers in each five minutes of the last hour, oldest first."""
    num_last_day: int
    """Answers in the last 24 hours."""
    num_to_label: int
    """Samples that wait for a label."""
    num_contested: int
    """Disagreements about an answer that wait to be settled."""
    num_requests: int
    """Requests for a round that wait."""
    num_both: int
    """Pairs of the version on probation that both versions had right; 0 while none is."""
    num_lost: int
    """The version before was right, the new one wrong."""
    num_won: int
    """The other way round."""
    num_neither: int
    """Both were wrong."""

    @property
    def num_last_hour(self) -> int:
        """Answers in the last hour."""
        return sum(self.traffic)
