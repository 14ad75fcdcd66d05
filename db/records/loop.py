"""Records of the loop: rounds, releases, what is in service, the audit trail, the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.releases import State
from db.rounds import Role, Step

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of the loop: filter, label, tune, validate, decide."""

    id: int
    key: str
    """Idempotency key: of trigger, data snapshot, base version and config."""
    trigger: str
    base_version: int | None
    """The accepted version that it starts from; None for the very first."""
    snapshot: str
    """Digest of the data that it saw when it opened."""
    config: Json
    step: Step
    """The last step that is done."""
    outputs: Mapping[Step, Json]
    """What each done step reported, by step."""
    evidence: str | None
    """Blob digest of the evidence behind the decision."""
    outcome: str | None
    """How it ended; None while it is open."""
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    quarantined_at: datetime | None
    quarantine_reason: str | None

    @property
    def is_open(self) -> bool:
        """Whether it still runs or waits to be resumed."""
        return self.closed_at is None


@dataclass(frozen=True, kw_only=True)
class RoundStep:
    """One done step of a round."""

    round_id: int
    step: Step
    at: datetime
    outputs: Json


@dataclass(frozen=True, kw_only=True)
class RoundSample:
    """A sample's part in a round."""

    sample_id: str
    role: Role
    score: float | None = None
    rank: int | None = None
    detail: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A request for a round. Requests of the same kind that wait together are one, counted."""

    id: int
    kind: str
    """schedule, new_labels, drift, performance or manual."""
    detail: Json
    """Of the latest request."""
    num_requests: int
    requested_at: datetime
    last_requested_at: datetime
    taken_at: datetime | None
    round_id: int | None
    """The round that took it."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version of the model and where it is in its life."""

    version: int
    state: State
    round_id: int | None
    parent_version: int | None
    digest: str
    """Digest of the checkpoint."""
    base_digest: str | None
    """Digest of the checkpoint that a delta builds on; None for a whole checkpoint."""
    metrics: Json
    mlflow_run_id: str | None
    mlflow_version: str | None
    generation: int | None
    """The generation at which it last entered service; None if it never did."""
    created_at: datetime
    updated_at: datetime
    """When it entered its state."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What is in service now."""

    version: int | None
    previous_version: int | None
    """What was in service before, as long as it may be again."""
    generation: int
    """Counts every change of the version in service."""
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line of the trail that nobody can edit."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    """release, round, sample ..."""
    subject_id: str
    version: int | None
    from_state: str | None
    to_state: str | None
    why: str
    numbers: Json


@dataclass(frozen=True, kw_only=True)
class OutboxMessage:
    """Something to tell the world outside the database, at least once."""

    id: int
    kind: str
    """`notify` or `mlflow_alias`."""
    key: str
    """Idempotency key; pass it on to the receiver."""
    payload: Json
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    lease_until: datetime | None
    done_at: datetime | None
    dead_at: datetime | None
    """When it was given up on."""
    last_error: str | None
