"""The baseline in force: what a rule compares with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from db.records import Baseline
from db.repository import measurements
from monitoring.alerting.evaluating import Reading
from monitoring.measures.window import ALL, OF_FEEDBACK

NAME = "monitoring"
"""The baseline's name in the table."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The baseline in force, or one that knows nothing."""

    version: int | None = None
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Slice to metric to `value`, `num_samples`, `spread` and the `version` that it was measured of."""
    reference: str = ""
    """Digest of the reference that drift is measured against."""
    gallery: int = 0
    """Rows that retrieval chose among."""

    @property
    def modalities(self) -> list[str]:
        """Those that the baseline's samples had."""
        kinds = (slice_.partition("=") for slice_ in self.metrics)
        return sorted(name for kind, _, name in kinds if kind == "modality")

    def reading(self, metric: str, slice_: str) -> Reading | None:
        """What a metric is compared with; accuracy in a slice that is new is compared with that of all."""
        found = self.metrics.get(slice_, {}).get(metric)
        if found is None and metric in OF_FEEDBACK:
            found = self.metrics.get(ALL, {}).get(metric)
        if found is None:
            return None
        return Reading(value=found["value"], num_samples=found["num_samples"], spread=found.get("spread"))


def baseline_in_force(session: Session) -> Known:
    """What measurements are compared with now."""
    found = measurements.get_baseline(session, NAME)
    return Known() if found is None else known_of(found)


def known_of(baseline: Baseline) -> Known:
    """A row of the table as judging takes it."""
    values = baseline.values
    return Known(
        version=baseline.version,
        metrics=values["metrics"],
        reference=values.get("reference", ""),
        gallery=values.get("gallery", 0),
    )
