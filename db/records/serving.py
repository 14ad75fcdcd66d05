"""Records of serving: trials of versions before their promotion, and second answers to the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.trials import Mode


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A version on a part of the traffic, beside the one in service."""

    id: int
    version: int
    base_version: int
    """The version in service that it is compared with."""
    mode: Mode
    share: float
    """Part of the requests that both versions answer, within (0, 1]."""
    is_running: bool
    started_at: datetime
    started_by: str
    why: str
    ended_at: datetime | None
    ended_by: str | None
    outcome: str | None
    """What it came to, in words; None while it runs."""


@dataclass(frozen=True, kw_only=True)
class NewMirror:
    """A second answer on its way into the log."""

    prediction_id: str
    """The answer that was told."""
    version: int
    """Who gave this one."""
    answer: str
    confidence: float
    latency_s: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two versions on the same requests, whatever was right."""

    num_both: int
    """Requests that both answered."""
    num_same: int
    """Of those, how many got the same answer from both."""
    new_latency_s: float | None
    """Mean of the version on trial; None without any."""
    old_latency_s: float | None
    """Mean of the version in service."""

    @property
    def share(self) -> float | None:
        """Part of the requests on which both agree; None without any."""
        return self.num_same / self.num_both if self.num_both else None
