"""Records of alerting: where rules stand, silences, what was told to whom, and the reports behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RuleState:
    """Where one rule stands on one set of labels, as the state machine left it."""

    fingerprint: str
    """Of the rule and the labels; the same as that of its alert."""
    rule: str
    labels: Json
    state: str
    """`inactive`, `pending`, `firing`, `no_data` ...: the words are the state machine's."""
    memory: Json
    """What else the state machine must know at the next evaluation."""
    since: datetime
    """When it entered the state."""
    updated_at: datetime
    """When it was last evaluated."""


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Nobody is told of alerts that match every one of `matchers` from `starts_at` to `ends_at`."""

    id: int
    matchers: Sequence[Json]
    """Each `{"label": …, "value": …, "is_regex": bool, "is_equal": bool}`."""
    owner: str
    why: str
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    ended_at: datetime | None
    """When somebody ended it before its time."""
    ended_by: str | None

    def covers(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.starts_at <= now < min(self.ends_at, self.ended_at or self.ends_at)


@dataclass(frozen=True, kw_only=True)
class Notification:
    """What one receiver was told about one group of alerts."""

    id: int
    key: str
    """Of its message in the outbox, and the idempotency key that the receiver gets."""
    group_key: str
    receiver: str
    reason: str
    """`firing`, `resolved`, `repeat` ...: why it was told now."""
    firing: Sequence[str]
    """Fingerprints that it called firing."""
    resolved: Sequence[str]
    """Fingerprints that it called resolved."""
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NewReport:
    """A report on its way into the index."""

    key: str
    """Of what it is about; the same report is kept once."""
    kind: str
    """`drift` or `quality`."""
    digest: str
    """Of its snapshot in the blob store."""
    num_rows: int
    num_reference: int
    version: int | None = None
    round_id: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    numbers: Json = field(default_factory=dict)
    """What a list shows of it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A drift or quality report of a window or a round."""

    id: int
    key: str
    kind: str
    version: int | None
    round_id: int | None
    """The round that it belongs to; None for a window of live traffic."""
    starts_at: datetime | None
    ends_at: datetime | None
    num_rows: int
    num_reference: int
    digest: str
    numbers: Json
    created_at: datetime
