"""What a version answered at validation: the baseline that its live traffic and its live accuracy are compared with."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from db.repository import measurements
from monitoring.traffic import Traffic, traffic

if TYPE_CHECKING:
    from omni_model.evaluate import Predictions

MOST_ROWS = 5000
"""Validation predictions that are kept; of more, every n-th."""


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A version at validation."""

    traffic: Traffic
    num_right: int
    num_labelled: int
    """Validation samples that `num_right` is out of."""


def baseline_of(predictions: "Predictions") -> dict[str, Any]:
    """What is kept of validation predictions, as JSON."""
    step = -(-len(predictions) // MOST_ROWS) or 1
    seen = traffic(
        predictions.confidence[::step].tolist(),
        predictions.domains[::step].tolist(),
        [combination(modalities) for modalities in predictions.modalities[::step]],
    )
    known = predictions.target >= 0
    num_right = int((predictions.answer == predictions.target)[known].sum())
    return {"traffic": seen.to_json(), "num_right": num_right, "num_labelled": int(known.sum())}


def remember(session: Session, version: int, baseline: dict[str, Any], *, now: datetime) -> None:
    """Make it the baseline of ``version``."""
    measurements.set_baseline(session, _name(version), baseline, version=version, now=now)


def recall(session: Session, version: int) -> Validated | None:
    """The baseline of ``version``; None if it was never validated."""
    found = measurements.get_baseline(session, _name(version))
    if found is None:
        return None
    return Validated(
        traffic=Traffic.from_json(found.values["traffic"]),
        num_right=found.values["num_right"],
        num_labelled=found.values["num_labelled"],
    )


def combination(modalities: "frozenset[str] | tuple[str, ...]") -> str:
    """What a sample consists of, as one word.

    >>> combination(("text", "image"))
    'image+text'
    """
    return "+".join(sorted(modalities))


def _name(version: int) -> str:
    return f"validation.v{version}"
