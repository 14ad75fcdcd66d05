"""What a person wants to know first, in one statement: each count looks at one end of an index."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, not_, select
from sqlalchemy.orm import Session

from db.models import DisagreementRow, PairRow, PredictionRow, QueueRow, ReleaseRow, TriggerRow
from db.records.glance import Glance

BUCKET = timedelta(minutes=5)
NUM_BUCKETS = 12


def look(session: Session, *, now: datetime) -> Glance:
    """The counts as of now; one statement, whatever the number of rows."""
    edges = [now - BUCKET * place for place in range(NUM_BUCKETS, -1, -1)]
    looks: dict[str, Select[Any]] = {
        f"bucket_{place}": _answers(start, end) for place, (start, end) in enumerate(itertools.pairwise(edges))
    }
    looks |= {
        "num_last_day": _answers(now - timedelta(days=1), now),
        "num_to_label": _count(QueueRow).where(QueueRow.done_at.is_(None)),
        "num_contested": _count(DisagreementRow).where(DisagreementRow.settled_at.is_(None)),
        "num_requests": _count(TriggerRow).where(TriggerRow.taken_at.is_(None)),
        "num_both": _pairs(and_(PairRow.new_correct, PairRow.old_correct)),
        "num_lost": _pairs(and_(not_(PairRow.new_correct), PairRow.old_correct)),
        "num_won": _pairs(and_(PairRow.new_correct, not_(PairRow.old_correct))),
        "num_neither": _pairs(and_(not_(PairRow.new_correct), not_(PairRow.old_correct))),
    }
    found = session.execute(select(*(each.scalar_subquery().label(name) for name, each in looks.items()))).mappings()
    seen = dict(found.one())
    traffic = tuple(seen.pop(f"bucket_{place}") for place in range(NUM_BUCKETS))
    return Glance(traffic=traffic, **seen)


def _count(row: Any) -> Select[Any]:
    return select(func.count()).select_from(row)


def _answers(start: datetime, end: datetime) -> Select[Any]:
    """Answers after `start` up to and at `end`."""
    return _count(PredictionRow).where(PredictionRow.at > start, PredictionRow.at <= end)


def _pairs(kind: Any) -> Select[Any]:
    """Pairs of the version on probation that are of a kind."""
    on_probation = select(ReleaseRow.version).where(ReleaseRow.state == "probation").scalar_subquery()
    return _count(PairRow).where(PairRow.version == on_probation, kind)
