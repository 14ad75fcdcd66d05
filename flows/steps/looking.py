"""Looks at live rows: each row is seen once, in order, and what was seen is written down as measurements.

What the next look has not seen yet is told by the last one's measurement, so it does not matter who looks, how often,
or whether somebody was killed in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from db.records import NewMeasurement, Prediction, ScoredPrediction
from db.repository import feedback, measurements, predictions
from monitoring.triggers import Judgement, rows_of_look

RECENT = timedelta(minutes=5)
"""Where predictions come in faster than looks are taken, a look is at the beginning of this stretch."""
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look that is due, or will be: what it waits for, where it starts, and what it knows of those before."""

    number: int
    since: datetime
    """When the series of looks began that it belongs to."""
    num_wanted: int
    """Rows that it waits for."""
    start: datetime
    num_seen_at_start: int
    """Rows of that very instant that an earlier look has seen."""
    before: Mapping[str, Any]
    """What the look before left in its measurement under `kept`."""


def next_look(session: Session, kind: str, version: int, since: datetime, *, first_rows: int, most_rows: int) -> Look:
    """The look of this kind at ``version`` that comes after the last one since ``since``, or the first."""
    last = measurements.latest(session, kind, version=version)
    if last is None or last.at <= since:
        return Look(number=1, since=since, num_wanted=first_rows, start=since, num_seen_at_start=0, before={})
    number = int(last.detail["look"]) + 1
    return Look(
        number=number,
        since=since,
        num_wanted=rows_of_look(number, first_rows, most_rows),
        start=datetime.fromisoformat(last.detail["until"]),
        num_seen_at_start=int(last.detail["num_at_until"]),
        before=last.detail["kept"],
    )


def unseen_predictions(session: Session, version: int, look: Look, now: datetime) -> list[Prediction]:
    """As many of the predictions since the last look as this one wants, or all if they are fewer; oldest first."""
    recent = now - RECENT
    if recent > look.start:
        rows = predictions.between(
            session, recent, now + INSTANT, version=version, limit=look.num_wanted, own_only=True
        )
        if len(rows) == look.num_wanted:
            return rows
    limit = look.num_wanted + look.num_seen_at_start
    rows = predictions.between(session, look.start, now + INSTANT, version=version, limit=limit, own_only=True)
    return rows[look.num_seen_at_start :]


def unseen_feedback(session: Session, version: int, look: Look) -> list[ScoredPrediction]:
    """As much of the feedback since the last look as this one wants, or all if it is less; oldest first."""
    limit = look.num_wanted + look.num_seen_at_start
    rows = feedback.scored(session, version=version, since=look.start - INSTANT, limit=limit, own_only=True)
    return rows[look.num_seen_at_start :]


def write_down(
    session: Session,
    version: int,
    judgement: Judgement,
    look: Look,
    times: list[datetime],
    *,
    now: datetime,
    kept: Mapping[str, Any],
) -> bool:
    """Keep a look at rows of these ``times`` as measurements; False, and nothing is kept, if somebody was faster.

    The whole judgement is the slice ``all``, each finding is a slice of its own.
    """
    last, until = measurements.latest(session, judgement.kind, version=version), times[-1]
    if last is not None and last.at > look.since and int(last.detail["look"]) >= look.number:
        return False
    detail = {
        "look": look.number,
        "until": until.isoformat(),
        "num_at_until": times.count(until) + (look.num_seen_at_start if until == look.start else 0),
        "kept": kept,
        "verdict": judgement.verdict,
        "sentence": judgement.sentence,
        "numbers": dict(judgement.numbers),
    }
    value = judgement.numbers.get("relative_change", float(judgement.asks))
    whole = NewMeasurement(metric=judgement.kind, value=value, version=version, num_samples=len(times), detail=detail)
    parts = [
        NewMeasurement(
            metric=judgement.kind,
            slice=f"test={each.name}",
            value=each.value,
            version=version,
            num_samples=each.num_rows,
            detail={"look": look.number, "verdict": each.verdict, "sentence": each.sentence},
        )
        for each in judgement.findings
    ]
    measurements.add(session, [whole, *parts], now=now)
    return True
