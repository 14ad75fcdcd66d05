"""Who does the work: exact Shapley values of the modalities, and how evenly they share it.

v(S) is the model's score with only the modalities in S present, through its own missing-modality path. The Shapley
value of m is its mean gain over all orders of arrival (Shapley 1953; used for modalities by SHAPE, Hu et al. 2022).
High balance is no success by itself: read it beside the fused score and the signed values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, isfinite, log

MAX_MODALITIES = 6


@dataclass(frozen=True, kw_only=True)
class ModalityBalance:
    """Contributions of the modalities to the fused score, in the unit of the score."""

    shapley: dict[str, float]
    """Signed; they sum to `fused - empty`."""
    leave_one_out_falls: dict[str, float]
    """v(all) - v(all without m): what is lost when only m is missing."""
    shares: dict[str, float]
    """max(shapley, 0) over their sum; all 0 if no modality helps."""
    balance: float | None
    """-Σ p log p / log M in [0, 1]; None with fewer than two modalities or if none helps."""
    fused: float
    """v(all modalities)."""
    empty: float
    """v(no modality)."""
    values: dict[str, float]
    """v of every subset, under its modalities joined by `+`; the empty one under ``."""


def modality_balance(value: Callable[[frozenset[str]], float], modalities: Sequence[str]) -> ModalityBalance:
    """Ask `value` once for each of the 2^M subsets and share the fused score out. Nothing is kept between two calls.

    >>> score = {"": 0.1, "audio": 0.5, "image": 0.3, "audio+image": 0.9}
    >>> result = modality_balance(lambda subset: score["+".join(sorted(subset))], ["image", "audio"])
    >>> {name: round(phi, 3) for name, phi in result.shapley.items()}
    {'audio': 0.5, 'image': 0.3}
    >>> round(result.balance, 4)
    0.9544
    """
    names = sorted(set(modalities))
    if not 1 <= len(names) <= MAX_MODALITIES or len(names) != len(modalities):
        raise ValueError(
            f"modalities must be 1 to {MAX_MODALITIES} different names, as 2^M subsets are scored; got {modalities}."
        )
    scored = {subset: _score(value, subset) for size in range(len(names) + 1) for subset in _subsets(names, size)}
    everything = frozenset(names)
    shapley = {name: _shapley(scored, names, name) for name in names}
    positive = {name: max(phi, 0.0) for name, phi in shapley.items()}
    total = sum(positive.values())
    shares = {name: phi / total if total > 0 else 0.0 for name, phi in positive.items()}
    return ModalityBalance(
        shapley=shapley,
        leave_one_out_falls={name: scored[everything] - scored[everything - {name}] for name in names},
        shares=shares,
        balance=_entropy(shares) if total > 0 and len(names) > 1 else None,
        fused=scored[everything],
        empty=scored[frozenset()],
        values={"+".join(sorted(subset)): score for subset, score in scored.items()},
    )


def _subsets(names: Sequence[str], size: int) -> list[frozenset[str]]:
    return [frozenset(chosen) for chosen in combinations(names, size)]


def _score(value: Callable[[frozenset[str]], float], subset: frozenset[str]) -> float:
    score = float(value(subset))
    if not isfinite(score):
        raise ValueError(
            f"The score with only {sorted(subset)} present is {score}. Score each subset on labelled samples."
        )
    return score


def _shapley(scored: dict[frozenset[str], float], names: Sequence[str], name: str) -> float:
    others = [other for other in names if other != name]
    phi = 0.0
    for size in range(len(names)):
        weight = factorial(size) * factorial(len(names) - size - 1) / factorial(len(names))
        for subset in _subsets(others, size):
            phi += weight * (scored[subset | {name}] - scored[subset])
    return phi


def _entropy(shares: dict[str, float]) -> float:
    return -sum(share * log(share) for share in shares.values() if share > 0) / log(len(shares))
