"""What an answer may cost at this moment: the request's own budget, and less of it while many wait.

Before a queue is full and refuses, answers become cheaper: from a share of the queue on, budgets shrink in proportion
to what is left of it, and modalities are left out by the version's selector.
"""

from __future__ import annotations

from dataclasses import dataclass

from omni_model.msn.choice import Budget


def left_by_load(num_open: int, max_open: int, degrade_from: float) -> float:
    """Share of the full cost that the load leaves, 0-1; 1 below `degrade_from` of the queue, 0 where it is full.

    >>> [left_by_load(num_open, 100, 0.5) for num_open in (0, 50, 75, 100, 130)]
    [1.0, 1.0, 0.5, 0.0, 0.0]
    >>> left_by_load(100, 100, 1.0)
    1.0
    """
    in_use = num_open / max_open
    if degrade_from >= 1 or in_use <= degrade_from:
        return 1.0
    return max(0.0, (1 - in_use) / (1 - degrade_from))


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What one answer may cost."""

    budget: Budget | None = None
    """None: not bounded."""
    by_load: bool = False
    """Whether it is the load that bounds it."""


UNBOUNDED = Allowance()


def allowance(asked: Budget | None, left: float) -> Allowance:
    """The smaller of what was asked and what the load leaves.

    >>> allowance(None, 1.0) == UNBOUNDED
    True
    >>> allowance(Budget(share=0.8), 0.5)
    Allowance(budget=Budget(share=0.5, latency_s=None), by_load=True)
    >>> allowance(Budget(share=0.3, latency_s=0.1), 0.5)
    Allowance(budget=Budget(share=0.3, latency_s=0.1), by_load=False)
    """
    if left >= 1:
        return UNBOUNDED if asked is None else Allowance(budget=asked)
    if asked is None:
        return Allowance(budget=Budget(share=left), by_load=True)
    if asked.share is not None and asked.share <= left:
        return Allowance(budget=asked)
    return Allowance(budget=Budget(share=left, latency_s=asked.latency_s), by_load=True)
