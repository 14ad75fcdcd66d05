"""Rules that watch a stream of pairs, each run over many streams at once: ours, and two that people use.

S streams, T pairs. A rule returns for each stream the number of pairs after which it rolled back, `NEVER` if it did
not, and likewise for acceptance.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.betting import log_evidence_of_fall, log_evidence_of_safety
from monitoring.config import ProbationConfig
from monitoring.probation import CONFIRM_SHARE

Pairs = NDArray[np.bool_]
NEVER = np.iinfo(np.int64).max
LOOK_EVERY = 50
_CHUNK_STREAMS = 50


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """When each stream was decided; `NEVER` where it was not so decided. At most one of the two is set."""

    rolled_back_after: NDArray[np.int64]
    accepted_after: NDArray[np.int64]

    @property
    def rollback_rate(self) -> float:
        return float(np.mean(self.rolled_back_after < NEVER))

    @property
    def accept_rate(self) -> float:
        return float(np.mean(self.accepted_after < NEVER))

    @property
    def median_rollback(self) -> float:
        """Median pairs to a rollback over all streams, those never rolled back counting as longest; inf beyond half."""
        middle = float(np.sort(self.rolled_back_after)[len(self.rolled_back_after) // 2])
        return middle if middle < NEVER else float("inf")


def probation(old_ST: Pairs, new_ST: Pairs, config: ProbationConfig) -> Outcome:
    """`monitoring.probation` over many streams; a test holds the two to the same verdicts."""
    parts = [
        _probation(old_ST[start : start + _CHUNK_STREAMS], new_ST[start : start + _CHUNK_STREAMS], config)
        for start in range(0, len(old_ST), _CHUNK_STREAMS)
    ]
    return Outcome(
        rolled_back_after=np.concatenate([part.rolled_back_after for part in parts]),
        accepted_after=np.concatenate([part.accepted_after for part in parts]),
    )


def _probation(old_ST: Pairs, new_ST: Pairs, config: ProbationConfig) -> Outcome:
    old_ST, new_ST = old_ST[:, : config.max_pairs], new_ST[:, : config.max_pairs]
    both_ST, lost_ST, won_ST = (
        np.cumsum(pairs, axis=1, dtype=np.int64) for pairs in (old_ST & new_ST, old_ST & ~new_ST, new_ST & ~old_ST)
    )
    num_T = np.arange(1, old_ST.shape[1] + 1)
    is_late_T = num_T >= config.min_pairs
    fall_ST = (lost_ST - won_ST) / np.maximum(both_ST + lost_ST, 1)
    evidence_ST = log_evidence_of_fall(lost_ST, won_ST)
    established_ST = np.maximum.accumulate(evidence_ST >= -log(config.max_false_rollback), axis=1)
    disaster_ST = (both_ST + lost_ST) / num_T - (both_ST + won_ST) / num_T >= config.disaster_points
    rollback_ST = established_ST & (disaster_ST | (is_late_T & (fall_ST > CONFIRM_SHARE * config.max_relative_fall)))
    safety_ST = log_evidence_of_safety(both_ST, lost_ST, won_ST, config.max_relative_fall)
    accept_ST = is_late_T & (safety_ST >= -log(config.max_false_accept)) & (fall_ST < config.max_relative_fall)
    rollback_S, accept_S = first(rollback_ST), first(accept_ST)
    return Outcome(
        rolled_back_after=np.where(rollback_S <= accept_S, rollback_S, NEVER),
        accepted_after=np.where(accept_S < rollback_S, accept_S, NEVER),
    )


def bare_threshold(old_accuracy: float, new_ST: Pairs, max_relative_fall: float) -> Outcome:
    """Roll back when, at a look every 50 requests, the accuracy so far is below the known old one by the limit."""
    num_T = np.arange(1, new_ST.shape[1] + 1)
    running_ST = np.cumsum(new_ST, axis=1) / num_T
    return _never_accepting(first((num_T % LOOK_EVERY == 0) & (running_ST < old_accuracy * (1 - max_relative_fall))))


def failed_windows(old_accuracy: float, new_ST: Pairs, max_relative_fall: float, num_failures: int = 5) -> Outcome:
    """Roll back at the fifth window of 50 requests, in all, whose accuracy is below the known old one by the limit."""
    num_windows = new_ST.shape[1] // LOOK_EVERY
    window_SW = new_ST[:, : num_windows * LOOK_EVERY].reshape(len(new_ST), num_windows, LOOK_EVERY).mean(axis=2)
    failures_SW = np.cumsum(window_SW < old_accuracy * (1 - max_relative_fall), axis=1)
    window_S = first(failures_SW >= num_failures)
    return _never_accepting(np.where(window_S < NEVER, np.minimum(window_S, num_windows) * LOOK_EVERY, NEVER))


def first(happened_ST: NDArray[Any]) -> NDArray[np.int64]:
    """The number of entries up to and including the first True of each row, `NEVER` if there is none.

    >>> first(np.array([[False, True, True], [False, False, False]])).tolist() == [2, NEVER]
    True
    """
    return np.where(happened_ST.any(axis=1), happened_ST.argmax(axis=1) + 1, NEVER)


def _never_accepting(rollback_S: NDArray[np.int64]) -> Outcome:
    return Outcome(rolled_back_after=rollback_S, accepted_after=np.full(len(rollback_S), NEVER))
