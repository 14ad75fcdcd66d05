"""The evidence of validations, read back: what two versions answered to the same samples, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboards.site import Site
from db.errors import BlobError
from db.records import Round, Task
from monitoring.comparison import Comparison, compare, from_json
from monitoring.measures.catalogue import MEASURES
from monitoring.outcomes import UNANSWERED, Answers, PairedOutcomes, Provenance

RESAMPLES = 500
"""Of a comparison that is made while somebody waits for the page."""
KINDS = ("all", "lost", "won", "both")
"""Differences: every one; only the old version was right; only the new one; both wrong, each in its own way."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What one version answered to the samples of a validation."""

    version: int
    outcomes: PairedOutcomes
    is_new: bool
    """It was the candidate of that validation."""
    names: tuple[str, ...]
    """The answers by their places in the vocabulary; empty if nobody wrote them down."""

    @property
    def answers(self) -> Answers:
        """Its own side."""
        return self.outcomes.new if self.is_new else self.outcomes.old


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric of two versions on one part of the samples, as people read it; None where it cannot be said."""

    metric: str
    unit: str
    slice: str
    old: float | None
    new: float | None
    change: float | None
    """Relative."""
    low: float | None
    high: float | None
    """Bounds of the relative change, each held with 95 % confidence."""
    sense: str
    """`better` or `worse` if the whole interval says so, else `unclear`; `unknown` without an interval."""
    guarded: bool
    """The gate holds it to a limit."""
    num_samples: int
    num_items: int


def change_of(row: Comparison) -> Change:
    """A comparison as people read it."""
    numbers = {name: _finite(getattr(row, name)) for name in ("old", "new", "low", "high")}
    low, high = numbers["low"], numbers["high"]
    sense = "unknown"
    if low is not None and high is not None:
        sign = 1 if row.higher_is_better else -1
        sense = "unclear" if low <= 0 <= high else "better" if low * sign > 0 else "worse"
    return Change(
        metric=row.metric,
        unit=MEASURES[row.metric].unit,
        slice=row.slice,
        **numbers,
        change=_finite(row.relative_change),
        sense=sense,
        guarded=row.guarded,
        num_samples=row.num_samples,
        num_items=row.num_items,
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def read_outcomes(site: Site, digest: str) -> PairedOutcomes:
    """The stored outcomes; `ValueError` in words if they are lost or damaged."""
    try:
        return PairedOutcomes.from_bytes(site.blobs.get(digest))
    except BlobError as error:
        raise ValueError(f"The evidence cannot be read: {error}") from error


def read_comparisons(site: Site, digest: str) -> list[Comparison]:
    """The stored comparisons; `ValueError` in words if they are lost or damaged."""
    try:
        return from_json(site.blobs.get(digest).decode())
    except BlobError as error:
        raise ValueError(f"The comparisons cannot be read: {error}") from error


def names_of(validated: Mapping[str, Any], tasks: Sequence[Task], used: set[str]) -> tuple[str, ...]:
    """The answers by their places: as the validation wrote them down, else those of its task if it had only one."""
    if validated.get("answers"):
        return tuple(validated["answers"])
    known = [task for task in tasks if task.name in used]
    return known[0].answers if len(used) == 1 and known else ()


def named(names: Sequence[str], place: int) -> str:
    """An answer in words.

    >>> named(("no", "yes"), 1), named((), 3), named(("no",), -1), named((), -2)
    ('yes', 'answer 3', 'not labelled', 'no usable answer')
    """
    if place < 0:
        return "no usable answer" if place == UNANSWERED else "not labelled"
    return names[place] if place < len(names) else f"answer {place}"


def sheet_of(site: Site, round_: Round, version: int, tasks: Sequence[Task], *, is_new: bool) -> Sheet:
    """A version's side of the evidence of a round, which must have some. `ValueError` if it cannot be read."""
    validated = round_.outputs["validated"]
    outcomes = read_outcomes(site, validated["evidence"])
    used = set(np.unique(outcomes.tasks).tolist())
    return Sheet(version=version, outcomes=outcomes, is_new=is_new, names=names_of(validated, tasks, used))


def joined(old: Sheet, new: Sheet) -> PairedOutcomes:
    """Two versions that were validated apart, on the samples that both answered and whose right answer has stayed.

    `ValueError` if the two vocabularies differ, or if no sample is common.
    """
    if old.names[: len(new.names)] != new.names[: len(old.names)]:
        raise ValueError("The two validations number their answers in different ways. Validate the versions together.")
    rows = {name: row for row, name in enumerate(old.outcomes.ids.tolist())}
    pairs = [(rows[name], row) for row, name in enumerate(new.outcomes.ids.tolist()) if name in rows]
    pairs = [(left, right) for left, right in pairs if old.outcomes.target[left] == new.outcomes.target[right]]
    if not pairs:
        raise ValueError("The two validations have no sample in common, so there is nothing to compare.")
    left_N, right_N = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    base = new.outcomes
    return PairedOutcomes(
        provenance=Provenance(
            old_version=old.version,
            new_version=new.version,
            measured_at=max(old.outcomes.provenance.measured_at, base.provenance.measured_at),
            num_unpaired=len(rows) + len(base) - 2 * len(pairs),
        ),
        **{name: getattr(base, name)[right_N] for name in ("ids", "items", "tasks", "domains", "modalities", "target")},
        old=_rows(old.answers, left_N),
        new=_rows(new.answers, right_N),
    )


def compared(paired: PairedOutcomes) -> list[Comparison]:
    """Every metric with its interval; times of different validations are left out, the machine was another."""
    blank = np.full(len(paired), np.nan)
    sides = (replace(side, latency_s=blank) for side in (paired.old, paired.new))
    old, new = sides
    return compare(replace(paired, old=old, new=new), resamples=RESAMPLES)


def differing(paired: PairedOutcomes, kind: str = "all") -> NDArray[np.int64]:
    """Rows that the two answered differently, of one of `KINDS`."""
    old_N, new_N, target_N = paired.old.answer, paired.new.answer, paired.target
    apart_N = old_N != new_N
    kept = {
        "all": apart_N,
        "lost": apart_N & (old_N == target_N),
        "won": apart_N & (new_N == target_N),
        "both": apart_N & (old_N != target_N) & (new_N != target_N) & (target_N >= 0),
    }
    return np.flatnonzero(kept[kind])


def _rows(side: Answers, rows_N: NDArray[np.int64]) -> Answers:
    columns = {name: getattr(side, name)[rows_N] for name in ("answer", "followed", "confidence", "target_probability")}
    return Answers(**columns, brier=side.brier[rows_N], latency_s=side.latency_s[rows_N])
