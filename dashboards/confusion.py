"""Which answers a version mistakes for which others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboards.evidence import named

MOST_CLASSES = 16
"""Answers up to which a table of all pairs can be read; beyond them only the commonest mistakes are shown."""
MOST_MISTAKES = 20


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A right answer, what was said instead, and how often."""

    target: str
    answer: str
    num: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Right answers against given ones."""

    num_samples: int
    num_right: int
    answers: tuple[str, ...]
    """Those that occur; empty if they are too many for a table."""
    counts: tuple[tuple[int, ...], ...]
    """A row for each right answer, a column for each given one."""
    mistakes: tuple[Mistake, ...]
    """The commonest first."""


def confusion_of(answer_N: NDArray[np.int64], target_N: NDArray[np.int64], names: Sequence[str]) -> Confusion:
    """Counted over the labelled rows.

    >>> found = confusion_of(np.array([0, 1, 1, 0]), np.array([0, 1, 0, -1]), ("no", "yes"))
    >>> found.num_samples, found.num_right, found.counts, found.mistakes[0].answer
    (3, 2, ((1, 1), (0, 1)), 'yes')
    """
    labelled_N = target_N >= 0
    answer_N, target_N = answer_N[labelled_N], target_N[labelled_N]
    pairs, nums = np.unique(np.stack([target_N, answer_N]), axis=1, return_counts=True)
    found = {(int(target), int(answer)): int(num) for (target, answer), num in zip(pairs.T, nums, strict=True)}
    places = sorted({place for pair in found for place in pair})
    shown = places if len(places) <= MOST_CLASSES else []
    wrong = sorted(
        ((num, pair) for pair, num in found.items() if pair[0] != pair[1]), key=lambda row: (-row[0], row[1])
    )
    return Confusion(
        num_samples=len(target_N),
        num_right=int((answer_N == target_N).sum()),
        answers=tuple(named(names, place) for place in shown),
        counts=tuple(tuple(found.get((target, answer), 0) for answer in shown) for target in shown),
        mistakes=tuple(
            Mistake(target=named(names, target), answer=named(names, answer), num=num)
            for num, (target, answer) in wrong[:MOST_MISTAKES]
        ),
    )
