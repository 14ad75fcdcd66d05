"""Probation: is the version that was just promoted worse than the one before it? Looked at after every pair.

A pair is one labelled live sample that both versions answered. The test never forgets how often it has looked: see
`monitoring.betting`. Error rates are in docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

import numpy as np

from monitoring.betting import log_evidence_of_fall, log_evidence_of_safety
from monitoring.config import ProbationConfig

__all__ = ["ProbationConfig", "ProbationState", "replay"]

CONTINUE, ROLLBACK, ACCEPT, INCONCLUSIVE = "continue", "rollback", "accept", "inconclusive"


CONFIRM_SHARE = 0.5
"""Share of the limit that the observed fall must exceed as well. Half, so that a true fall at the limit is not missed
because the observed one happens to be a little smaller."""


@dataclass(frozen=True, kw_only=True)
class ProbationState:
    """All that the test remembers. Start with `ProbationState(config=…)`; `update` returns the next state."""

    config: ProbationConfig
    num_both: int = 0
    """Pairs that both versions had right."""
    num_lost: int = 0
    """Pairs that the old version had right and the new one wrong."""
    num_won: int = 0
    """Pairs that the new version had right and the old one wrong."""
    num_neither: int = 0
    fall_established: bool = False
    """The evidence of a fall has at some time reached 1 / max_false_rollback; it stays reached."""
    verdict: str = CONTINUE
    """`continue`, `rollback`, `accept` or `inconclusive` (a person decides). Final once it is not `continue`."""

    @property
    def num_pairs(self) -> int:
        return self.num_both + self.num_lost + self.num_won + self.num_neither

    @property
    def old_accuracy(self) -> float:
        return (self.num_both + self.num_lost) / self.num_pairs if self.num_pairs else float("nan")

    @property
    def new_accuracy(self) -> float:
        return (self.num_both + self.num_won) / self.num_pairs if self.num_pairs else float("nan")

    @property
    def relative_fall(self) -> float:
        """1 - new / old; 0 while the old version has had nothing right."""
        num_right = self.num_both + self.num_lost
        return (self.num_lost - self.num_won) / num_right if num_right else 0.0

    @property
    def reason(self) -> str:
        """The verdict as a sentence with its figures."""
        return _reason(self)

    def update(self, new_correct: bool, old_correct: bool) -> ProbationState:
        """The state after one more pair. A state whose verdict is final returns itself."""
        new_right, old_right = _outcome(new_correct, "new_correct"), _outcome(old_correct, "old_correct")
        if self.verdict != CONTINUE:
            return self
        counted = {(True, True): "num_both", (False, True): "num_lost", (True, False): "num_won"}.get(
            (new_right, old_right), "num_neither"
        )
        state = replace(self, **{counted: getattr(self, counted) + 1})
        evidence = float(log_evidence_of_fall(state.num_lost, state.num_won))
        state = replace(
            state, fall_established=self.fall_established or evidence >= -log(self.config.max_false_rollback)
        )
        return replace(state, verdict=_verdict(state))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` restores."""
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> ProbationState:
        """What `to_json` gave; `ValueError` for anything else."""
        try:
            return ProbationState(**{**raw, "config": ProbationConfig(**raw["config"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"The stored probation state cannot be read: {error!r}. Replay its pairs.") from error


def replay(config: ProbationConfig, pairs: Iterable[tuple[bool, bool]]) -> ProbationState:
    """The state after all pairs (new_correct, old_correct) in their order."""
    state = ProbationState(config=config)
    for new_correct, old_correct in pairs:
        state = state.update(new_correct, old_correct)
    return state


def _outcome(value: object, name: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(
            f"{name} must be True or False, got {value!r}. Score only samples that have a label and two answers."
        )
    return bool(value)


def _verdict(state: ProbationState) -> str:
    config = state.config
    if state.fall_established and state.old_accuracy - state.new_accuracy >= config.disaster_points:
        return ROLLBACK
    if state.num_pairs >= config.min_pairs:
        if state.fall_established and state.relative_fall > CONFIRM_SHARE * config.max_relative_fall:
            return ROLLBACK
        safety = float(log_evidence_of_safety(state.num_both, state.num_lost, state.num_won, config.max_relative_fall))
        if safety >= -log(config.max_false_accept) and state.relative_fall < config.max_relative_fall:
            return ACCEPT
    return INCONCLUSIVE if state.num_pairs >= config.max_pairs else CONTINUE


def _reason(state: ProbationState) -> str:
    config = state.config
    figures = (
        f"accuracy {state.old_accuracy:.3f} before and {state.new_accuracy:.3f} now on the same {state.num_pairs:,} "
        f"samples ({state.num_lost} lost, {state.num_won} won), a relative change of {-state.relative_fall:+.1%}"
    )
    limit = f"{config.max_relative_fall:.1%}"
    return {
        CONTINUE: f"On probation: {figures}; not decided yet.",
        ROLLBACK: f"Rolled back: {figures}; a fall is established, and one of {limit} or more is not ruled out.",
        ACCEPT: f"Accepted: {figures}; a fall of {limit} or more is ruled out.",
        INCONCLUSIVE: f"Undecided after {config.max_pairs:,} samples: {figures}. A person decides.",
    }[state.verdict]
