"""A rule replayed over what was recorded: how often would it have fired, for how long, and what could it not see?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerting.evaluating import NO_DATA, Evaluation, Reading, combine, evaluate
from monitoring.alerting.machine import EXPIRED, FIRED, RESOLVED, Policy, fresh, step
from monitoring.alerting.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One time that it would have fired."""

    fired_at: datetime
    ended_at: datetime | None
    """None: it fires to the end of the record."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """A rule on one slice of the record."""

    num_evaluations: int
    num_no_data: int
    episodes: tuple[Episode, ...]

    @property
    def share_seen(self) -> float | None:
        """Share of the evaluations that had data; None without any."""
        return 1 - self.num_no_data / self.num_evaluations if self.num_evaluations else None


def backtest(
    rule: Rule, record: Sequence[tuple[datetime, Reading]], baseline: Reading | None, policy: Policy
) -> Backtest:
    """Evaluate a rule at every moment of the record, oldest first, as it would have been then.

    >>> from datetime import UTC
    >>> from monitoring.alerting.rule import Bound
    >>> bound = Bound(kind="absolute", side="upper", limit=0.85)
    >>> rule = Rule(name="busy", metric="device_utilisation", bound=bound, min_samples=1, confidence=0)
    >>> start = datetime(2026, 3, 1, tzinfo=UTC)
    >>> readings = [Reading(value=value, num_samples=1) for value in (0.5, 0.9, 0.5)]
    >>> record = [(start + timedelta(minutes=at), reading) for at, reading in enumerate(readings)]
    >>> found = backtest(rule, record, None, Policy())
    >>> found.num_evaluations, len(found.episodes), found.episodes[0].why
    (3, 1, 'device_utilisation of 0.9 is above 0.85.')
    """
    episodes: list[Episode] = []
    state, num_missing, first = None, 0, 0
    for place, (now, _) in enumerate(record):
        while record[first][0] < now - timedelta(seconds=rule.window_s):
            first += 1
        reading = combine([entry for _, entry in record[first : place + 1]], rule.over)
        state = fresh(now) if state is None else state
        found: Evaluation = evaluate(rule, reading, baseline, is_breached=state.is_breached)
        num_missing += found.status == NO_DATA
        state = step(state, found.status, policy, now)
        if state.event == FIRED:
            episodes.append(Episode(fired_at=now, ended_at=None, why=found.why))
        elif state.event in (RESOLVED, EXPIRED):
            last = episodes.pop()
            episodes.append(Episode(fired_at=last.fired_at, ended_at=now, why=last.why))
    return Backtest(num_evaluations=len(record), num_no_data=num_missing, episodes=tuple(episodes))
