"""The gate: may the candidate take over? Three answers, and none of them from a number that is not there.

- `reject`: a fall beyond the limit is established in a guarded metric (the whole interval lies beyond the limit);
- `accept`: for every primary metric a fall beyond the limit is ruled out, and nothing speaks against it;
- `inconclusive`: anything else. A person decides.

The statistics and their error rates are in docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any

from monitoring.comparison import Comparison, compare
from monitoring.config import EVERYTHING, GateConfig
from monitoring.outcomes import PairedOutcomes
from monitoring.rules import GateRow, corrected, holm, judge_row
from monitoring.wording import sentence, summary_of

__all__ = ["GateConfig", "GateRow", "Verdict", "judge", "judge_again"]

CLOCK_SKEW_S = 60.0
"""A comparison may come from a clock that is this much ahead."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says and why."""

    decision: str
    """`accept`, `reject` or `inconclusive`."""
    reasons: list[str]
    """Sentences for a person; those that decided come first."""
    rows: list[GateRow]
    """Each comparison with its own finding."""

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """What a page or a table shows, ready for strict JSON (null where a number cannot be said)."""
        return {
            "decision": self.decision,
            "reasons": self.reasons,
            "rows": [summary_of(row, confidence) for row in self.rows],
        }


def judge(
    comparisons: Iterable[Comparison], config: GateConfig, *, now: datetime, serving_version: int | None
) -> Verdict:
    """Judge a candidate. `now` and `serving_version` tell whether the evidence still speaks of today's choice."""
    rows = _correct_slices([judge_row(comparison, config) for comparison in comparisons], config)
    void = _void(rows, config, now, serving_version)
    if void:
        return Verdict(decision="inconclusive", reasons=void, rows=rows)
    harms = _sentences((row for row in rows if row.rejects), config)
    if harms:
        return Verdict(decision="reject", reasons=harms, rows=rows)
    suspects = [row for row in rows if row.finding == "suspect" and row.role != "primary"]
    doubts = _incomplete(rows, config) + _sentences((row for row in rows if row.holds), config)
    if doubts:
        return Verdict(decision="inconclusive", reasons=doubts + _sentences(suspects, config), rows=rows)
    decisive = [row for row in rows if row.role == "primary"]
    return Verdict(decision="accept", reasons=_sentences(decisive + suspects, config), rows=rows)


def judge_again(paired: PairedOutcomes, config: GateConfig, *, resamples: int = 2000, seed: int = 0) -> Verdict:
    """What the gate would have said of stored outcomes under other limits or metrics, at the time of measuring."""
    made = paired.provenance
    return judge(
        compare(paired, resamples=resamples, seed=seed),
        config,
        now=made.measured_at,
        serving_version=made.old_version,
    )


def _void(rows: Sequence[GateRow], config: GateConfig, now: datetime, serving_version: int | None) -> list[str]:
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
        serving = "no version" if serving_version is None else f"v{serving_version}"
        reasons.append(
            f"The comparison was made against v{made.old_version}, but {serving} is in service. Validate again."
        )
    if not -CLOCK_SKEW_S <= age_s <= config.max_age_s:
        reasons.append(
            f"The comparison is {age_s / 3600:.1f} hours old, allowed are 0 to {config.max_age_s / 3600:.1f}. "
            "Validate again."
        )
    return reasons


def _incomplete(rows: Sequence[GateRow], config: GateConfig) -> list[str]:
    """What keeps the evidence from being complete enough to accept on."""
    measured = {row.comparison.metric for row in rows if row.comparison.slice == EVERYTHING}
    reasons = [
        f"{metric} was not measured on all samples. Measure it, or take it off the list of guarded metrics."
        for metric in (*config.primary, *config.guarded)
        if metric not in measured
    ]
    num_unpaired = rows[0].comparison.provenance.num_unpaired
    if num_unpaired:
        reasons.append(
            f"{num_unpaired:,} samples were answered by only one of the two versions. Let both answer the same samples."
        )
    return reasons


def _correct_slices(rows: list[GateRow], config: GateConfig) -> list[GateRow]:
    """Slices are many looks at one candidate: one does harm only if it does so after Holm's correction.

    A slice that holds every sample is the whole again and is only reported.
    """
    num_samples = max((row.comparison.num_samples for row in rows if row.comparison.slice == EVERYTHING), default=0)
    rows = [replace(row, role="reported", finding="reported") if _is_whole(row, num_samples) else row for row in rows]
    tested = [place for place, row in enumerate(rows) if row.role == "slice" and isfinite(row.p_harm)]
    adjusted = dict(zip(tested, holm([rows[place].p_harm for place in tested]), strict=True))
    return [corrected(row, adjusted[place], config) if place in adjusted else row for place, row in enumerate(rows)]


def _is_whole(row: GateRow, num_samples: int) -> bool:
    is_ablated = row.comparison.slice.startswith("without=")
    return row.role == "slice" and not is_ablated and row.comparison.num_samples == num_samples


def _sentences(rows: Iterable[GateRow], config: GateConfig) -> list[str]:
    return [sentence(row, config.confidence) for row in rows]
