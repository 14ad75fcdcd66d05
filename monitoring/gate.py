"""The gate: may the candidate take over? Three answers, and none of them from a number that is not there.

- reject: a fall beyond the limit is established in a guarded metric (the whole interval lies beyond the limit);
- accept: for every primary metric a fall beyond the limit is ruled out, and nothing speaks against it;
- inconclusive: anything else. A person decides.

The statistics and their error rates are in docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from monitoring.comparison import EVERYTHING, Comparison
from monitoring.rules import GateConfig as GateConfig
from monitoring.rules import GateRow, holm, judge_row


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says and why."""

    decision: str
    """`accept`, `reject` or `inconclusive`."""
    reasons: list[str]
    """Sentences for a person: those that decided first."""
    rows: list[GateRow]
    """Each comparison with its own finding."""


def judge(
    comparisons: Iterable[Comparison], config: GateConfig, *, now: datetime, serving_version: int | None
) -> Verdict:
    """Judge a candidate. `now` and `serving_version` tell whether the evidence still speaks of today's choice."""
    rows = _with_slices_corrected([judge_row(comparison, config) for comparison in comparisons], config)
    void = _void(rows, config, now, serving_version)
    if void:
        return Verdict(decision="inconclusive", reasons=void, rows=rows)
    harms = [row.reason for row in rows if row.finding == "harm"]
    if harms:
        return Verdict(decision="reject", reasons=harms, rows=rows)
    doubts = _absent(rows, config) + [row.reason for row in rows if row.blocks]
    if doubts:
        return Verdict(decision="inconclusive", reasons=doubts, rows=rows)
    return Verdict(decision="accept", reasons=[row.reason for row in rows if row.role == "primary"], rows=rows)


def _void(rows: list[GateRow], config: GateConfig, now: datetime, serving_version: int | None) -> list[str]:
    """Why the evidence as a whole says nothing about the choice at hand."""
    if not rows:
        return ["Nothing was compared. Validate the candidate against the version in service."]
    provenances = {row.comparison.provenance for row in rows}
    if len(provenances) > 1:
        return [f"The comparisons come from {len(provenances)} different validations. Judge one validation at a time."]
    (made,) = provenances
    age_s = (now - made.measured_at).total_seconds()
    reasons = []
    if made.old_version != serving_version:
        reasons.append(
            f"The comparison was made against v{made.old_version}, but "
            f"{'no version' if serving_version is None else f'v{serving_version}'} is in service. Validate again."
        )
    if not 0 <= age_s <= config.max_age_s:
        reasons.append(
            f"The comparison is {age_s / 3600:.1f} hours old, allowed are 0 to {config.max_age_s / 3600:.1f}. "
            "Validate again."
        )
    return reasons


def _absent(rows: list[GateRow], config: GateConfig) -> list[str]:
    """What keeps the evidence from being complete enough to accept on."""
    measured = {row.comparison.metric for row in rows if row.comparison.slice == EVERYTHING}
    needed = dict.fromkeys((*config.primary, *config.guarded))
    reasons = [f"{metric} was not measured on all samples." for metric in needed if metric not in measured]
    num_unpaired = rows[0].comparison.provenance.num_unpaired
    if num_unpaired:
        reasons.append(f"{num_unpaired} samples were answered by only one of the two versions; all must be by both.")
    return reasons


def _with_slices_corrected(rows: list[GateRow], config: GateConfig) -> list[GateRow]:
    """Slices are many looks at one candidate: a slice does harm only if it does so after Holm's correction."""
    slices = [row for row in rows if row.role == "slice" and isfinite(row.p_harm)]
    corrected = dict(zip(map(id, slices), holm([row.p_harm for row in slices]), strict=True))
    return [row.corrected(corrected[id(row)], config) if id(row) in corrected else row for row in rows]
