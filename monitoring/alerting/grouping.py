"""When a group of alerts is told of, after the conventions of Prometheus Alertmanager.

A group is told `group_wait` after its first alert, `group_interval` after that if it has changed, and `repeat_interval`
after that if it has not. What was told as firing is told as resolved once. What is known of the past is the last notice
alone, so a restart neither forgets nor repeats.

>>> group_key({"name": "accuracy low in a domain", "domain": "ru"}, ("name",))
'name=accuracy low in a domain'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from monitoring.alerting.rule import Routing

NEW, REPEAT, ENDED = "firing", "repeat", "resolved"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a receiver was last told of a group."""

    firing: frozenset[str]
    at: datetime
    key: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """An open alert of a group."""

    fingerprint: str
    fired_at: datetime
    is_hidden: bool = False
    """Silenced or inhibited: not told of, and not said to have ended either."""
    is_acknowledged: bool = False
    """Not repeated."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A notice that is to be given now."""

    reason: str
    """`firing`, `repeat` or `resolved`."""
    firing: tuple[str, ...]
    resolved: tuple[str, ...]


def due(members: Sequence[Member], last: Told | None, routing: Routing, now: datetime) -> Due | None:
    """What one receiver is to be told of a group now; None for nothing."""
    shown = sorted(member.fingerprint for member in members if not member.is_hidden)
    before: Set[str] = last.firing if last else frozenset()
    ended = tuple(sorted(before - {member.fingerprint for member in members}))
    new = set(shown) - before
    if not before and not new:
        return None
    if last is None or not before:
        waited = max((now - member.fired_at).total_seconds() for member in members if not member.is_hidden)
        has_waited = waited >= routing.group_wait_s or waited < 0  # below 0: the clock was moved back
        return Due(reason=NEW, firing=tuple(shown), resolved=()) if has_waited else None
    elapsed = _since(last, routing, now)
    if (new or ended) and elapsed >= routing.group_interval_s:
        return Due(reason=NEW if new else ENDED, firing=tuple(shown), resolved=ended)
    wants_repeat = any(not member.is_hidden and not member.is_acknowledged for member in members)
    if not new and not ended and wants_repeat and elapsed >= routing.repeat_interval_s:
        return Due(reason=REPEAT, firing=tuple(shown), resolved=())
    return None


def group_key(labels: Mapping[str, Any], group_by: Sequence[str]) -> str:
    """The group that an alert belongs to."""
    return ",".join(f"{label}={labels.get(label, '')}" for label in group_by) or "all"


def fingerprint(rule: str, labels: Mapping[str, Any]) -> str:
    """Identity of a rule on a slice: stable over restarts and versions.

    >>> fingerprint("slow", {"a": 1, "b": 2}) == fingerprint("slow", {"b": 2, "a": 1})
    True
    """
    parts = [rule, *(f"{label}={labels[label]}" for label in sorted(labels))]
    return "rule:" + blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()


def notice_key(group: str, receiver: str, found: Due, last: Told | None) -> str:
    """Idempotency key of a notice: two who find the same due after the same last notice make one."""
    parts = [group, receiver, found.reason, *found.firing, "/", *found.resolved, last.key if last else ""]
    return "alert:" + blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _since(last: Told, routing: Routing, now: datetime) -> float:
    """Seconds since the last notice. One from the future (the clock was moved back) is believed up to an interval."""
    elapsed = (now - last.at).total_seconds()
    return elapsed if elapsed >= -routing.group_interval_s else routing.repeat_interval_s
