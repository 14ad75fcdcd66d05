"""The life of an alert as a pure function: what it was, what is found, and the time, to what it is.

    inactive ──breach──► pending ──for──► firing ──ok, kept long enough──► inactive (resolved)
        └──────no data──────► no_data ──────────data──────► any of them

A firing alert does not end for want of data: that would call ok what nobody saw. It ends when the data say so, or when
its slice has had none for so long that it is given up (`forget_s`). Whether somebody acknowledged it, or a silence or
another alert hides it, changes who is told and not what it is.

>>> from datetime import UTC, datetime, timedelta
>>> start = datetime(2026, 3, 1, tzinfo=UTC)
>>> policy = Policy(for_s=60)
>>> first = step(fresh(start), "breach", policy, start)
>>> later = step(first, "breach", policy, start + timedelta(seconds=60))
>>> first.state, later.state, later.event
('pending', 'firing', 'fired')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitoring.alerting.evaluating import BREACH, NO_DATA, OK

INACTIVE, PENDING, FIRING, MISSING = "inactive", "pending", "firing", "no_data"
STATES = (INACTIVE, PENDING, FIRING, MISSING)
FIRED, RESOLVED, EXPIRED = "fired", "resolved", "expired"
_TIMES = ("since", "at", "breached_since", "breached_at", "missing_since")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient the machine is, in seconds."""

    for_s: float = 0.0
    keep_firing_s: float = 0.0
    max_gap_s: float = 300.0
    forget_s: float = 86400.0
    alerts_without_data: bool = False
    """No data that lasts for `for_s` fires."""


@dataclass(frozen=True, kw_only=True)
class AlertState:
    """Where one rule stands on one slice."""

    state: str
    since: datetime
    """When it entered the state."""
    at: datetime
    """When it was last evaluated."""
    breached_since: datetime | None = None
    """When the breach that lasts began."""
    breached_at: datetime | None = None
    """When a breach was last seen."""
    missing_since: datetime | None = None
    """Since when there has been no data."""
    event: str = ""
    """What happened at this step: `fired`, `resolved`, `expired` (given up for want of data), or nothing."""

    @property
    def is_breached(self) -> bool:
        """In breach at the last evaluation that had data."""
        return self.breached_since is not None

    def kept_until(self, policy: Policy) -> datetime | None:
        """Until when it fires although the breach has ended; None while the breach lasts or it does not fire."""
        if self.state != FIRING or self.is_breached or self.breached_at is None:
            return None
        return self.breached_at + timedelta(seconds=policy.keep_firing_s)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` restores."""
        times = {name: getattr(self, name) for name in _TIMES}
        return {"state": self.state} | {name: at and at.isoformat() for name, at in times.items()}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> AlertState:
        """What `to_json` gave."""
        times: dict[str, Any] = {name: raw[name] and datetime.fromisoformat(raw[name]) for name in _TIMES}
        return AlertState(state=raw["state"], **times)


def fresh(now: datetime) -> AlertState:
    """A rule that was never evaluated."""
    return AlertState(state=INACTIVE, since=now, at=now)


def step(before: AlertState, status: str, policy: Policy, now: datetime) -> AlertState:
    """The state after an evaluation at `now` that found `status`. The same input gives the same state, always."""
    old = replace(settled(before, now, policy), event="")
    if status == BREACH:
        return _breach(old, policy, now)
    if status == OK:
        return _ok(old, policy, now)
    if status == NO_DATA:
        return _no_data(old, policy, now)
    raise ValueError(f"status must be {OK}, {BREACH} or {NO_DATA}, got {status!r}.")


def settled(state: AlertState, now: datetime, policy: Policy) -> AlertState:
    """The state with its times made right for `now`.

    A clock that was moved back takes the remembered times along, so that what has lasted stays as it is. After a time
    in which nobody evaluated, what was pending starts to wait again: what was between, nobody saw.
    """
    if now < state.at:
        back = state.at - now
        moved: dict[str, Any] = {name: at - back for name in _TIMES if (at := getattr(state, name)) is not None}
        return replace(state, **moved)
    if (now - state.at).total_seconds() > policy.max_gap_s and state.state != FIRING:
        kept: dict[str, Any] = {
            name: now for name in ("breached_since", "missing_since") if getattr(state, name) is not None
        }
        return replace(state, **kept)
    return state


def _breach(old: AlertState, policy: Policy, now: datetime) -> AlertState:
    since = old.breached_since or now
    seen = replace(old, at=now, breached_since=since, breached_at=now, missing_since=None)
    if old.state == FIRING:
        return seen
    if _lasted(since, now, policy.for_s):
        return replace(seen, state=FIRING, since=now, event=FIRED)
    return _to(seen, PENDING, now)


def _ok(old: AlertState, policy: Policy, now: datetime) -> AlertState:
    seen = replace(old, at=now, breached_since=None, missing_since=None)
    if old.state != FIRING:
        return _to(replace(seen, breached_at=None), INACTIVE, now)
    if old.breached_at is not None and not _lasted(old.breached_at, now, policy.keep_firing_s):
        return seen
    return replace(seen, state=INACTIVE, since=now, breached_at=None, event=RESOLVED)


def _no_data(old: AlertState, policy: Policy, now: datetime) -> AlertState:
    since = old.missing_since or now
    seen = replace(old, at=now, missing_since=since)
    if old.state == FIRING:
        if _lasted(since, now, policy.forget_s) and not policy.alerts_without_data:
            forgotten = replace(seen, breached_since=None, breached_at=None)
            return replace(forgotten, state=MISSING, since=now, event=EXPIRED)
        return seen
    if policy.alerts_without_data and _lasted(since, now, policy.for_s):
        return replace(seen, state=FIRING, since=now, breached_since=None, breached_at=now, event=FIRED)
    return _to(replace(seen, breached_since=None, breached_at=None), MISSING, now)


def _to(state: AlertState, name: str, now: datetime) -> AlertState:
    return state if state.state == name else replace(state, state=name, since=now)


def _lasted(since: datetime, now: datetime, seconds: float) -> bool:
    return (now - since).total_seconds() >= seconds
