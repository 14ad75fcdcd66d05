"""Which unlabelled samples are worth a label: acquisition functions, and one streaming pass that selects by them.

    uncertainty.py  least_confidence, margin, entropy, random      limits.py     near-duplicate cap and domain quota
    committee.py    bald, disagreement                             reservoir.py  the bounded memory of a pass
    diversity.py    badge, core_set                                streaming.py  select
    registry.py     ACQUISITIONS                                   lift.py       lift_over_random

numpy only. A new function is one `register(Acquisition(...))`; the conformance suite then runs for it.
"""

from omni_model.acquisition.candidates import CandidateBatch, from_predictions
from omni_model.acquisition.committee import BALD, DISAGREEMENT
from omni_model.acquisition.config import SelectionConfig
from omni_model.acquisition.diversity import BADGE, CORE_SET
from omni_model.acquisition.lift import Lift, lift_over_random
from omni_model.acquisition.registry import ACQUISITIONS, Acquisition, Pool, find_acquisition, register
from omni_model.acquisition.selection import SelectedRow, Selection
from omni_model.acquisition.streaming import select
from omni_model.acquisition.uncertainty import ENTROPY, LEAST_CONFIDENCE, MARGIN, RANDOM

__all__ = [
    "ACQUISITIONS",
    "BADGE",
    "BALD",
    "CORE_SET",
    "DISAGREEMENT",
    "ENTROPY",
    "LEAST_CONFIDENCE",
    "MARGIN",
    "RANDOM",
    "Acquisition",
    "CandidateBatch",
    "Lift",
    "Pool",
    "SelectedRow",
    "Selection",
    "SelectionConfig",
    "find_acquisition",
    "from_predictions",
    "lift_over_random",
    "register",
    "select",
]
