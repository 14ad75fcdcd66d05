"""The record of a notice on its way to one receiver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of telling one receiver one thing."""

    id: int
    """Of the message."""
    key: str
    receiver: str
    """Empty while it is not handed out to receivers yet."""
    what: str
    """Title of the notice, or the move of a version that it tells of."""
    reason: str
    """`firing`, `resolved`, `repeat`, `test`, `release` …"""
    created_at: datetime
    attempts: int
    delivered_at: datetime | None
    dead_at: datetime | None
    """When it was given up on."""
    next_attempt_at: datetime
    last_error: str | None

    @property
    def state(self) -> str:
        """`delivered`, `dead` or `pending`."""
        return "delivered" if self.delivered_at else "dead" if self.dead_at else "pending"
