"""Records of what there is: sources, what is set aside, a sample's part in rounds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.releases import State
from db.rounds import Role


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    """How many samples one source and domain has."""

    source: str
    domain: str
    num_train: int
    num_val: int
    num_test: int
    num_aside: int
    """Of all of them: how many are in quarantine."""
    latest_at: datetime
    """When the last of them came in."""


@dataclass(frozen=True, kw_only=True)
class QuarantinedRound:
    """A round that is in quarantine."""

    id: int
    quarantined_at: datetime
    reason: str | None
    version: int | None
    num_labels: int
    """Labels that are set aside: those that it asked for, and those in its batch."""


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A sample's part in a round, and the version that came of it."""

    round_id: int
    role: Role
    score: float | None
    rank: int | None
    opened_at: datetime
    version: int | None
    state: State | None
