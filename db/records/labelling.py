"""Records of labelling: what is said against an answer, how far the queue is, who did how much."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Against = Literal["label", "feedback", "suggestion"]
"""What is said to be wrong: the label in force, the feedback of somebody outside, or what a model suggests."""

Outcome = Literal["keep", "replace"]
"""How a disagreement ends: the answer that was contested stands, or the other takes its place."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Somebody says that an answer is wrong."""

    id: int
    sample_id: str
    against: Against
    claimed: str
    """The answer that is said to be wrong."""
    claimed_by: str
    """Whose it is: the label's origin, the feedback's origin, or the version as `v3`."""
    answer: str
    """What `who` says instead."""
    who: str
    why: str
    round_id: int | None
    at: datetime
    settled_at: datetime | None
    settled_by: str | None
    outcome: Outcome | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An answer that a sample has from somewhere."""

    against: Against
    answer: str
    by: str
    """As `Disagreement.claimed_by`."""
    at: datetime
    confidence: float | None = None
    """The model's, for a suggestion."""


@dataclass(frozen=True, kw_only=True)
class QueueProgress:
    """How far the label queue of one round and task is."""

    round_id: int | None
    task: str
    num_queued: int
    num_done: int
    num_leased: int
    """Of those that wait: how many somebody holds now."""


@dataclass(frozen=True, kw_only=True)
class LabellerTally:
    """How much one origin has labelled."""

    origin: str
    num_labels: int
    num_since: int
    """Of them since the moment that was asked for."""
    last_at: datetime
