"""What a choice of modalities is made from and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an answer may cost. Both bounds hold where both are given.

    >>> Budget(share=1.5)
    Traceback (most recent call last):
    ValueError: A budget's share must lie in [0, 1], got 1.5. 1 is the cost of all modalities, 0 the cheapest answer.
    """

    share: float | None = None
    """Of the cost of using all modalities that are there, 0–1; None: not bounded."""
    latency_s: float | None = None
    """Seconds of decoding, encoding and fusing; None: not bounded."""

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(
                f"A budget's share must lie in [0, 1], got {self.share}. "
                "1 is the cost of all modalities, 0 the cheapest answer."
            )
        if self.latency_s is not None and not self.latency_s > 0:
            raise ValueError(f"A budget's latency must be above 0 s, got {self.latency_s}. Leave it out for no bound.")


class Stage(NamedTuple):
    """A part of the modalities, looked at before the rest."""

    subset: frozenset[str]
    threshold: float
    """Calibrated probability from which on the answer from this part stands, and the rest is not looked at."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The modalities to use."""

    subset: frozenset[str]
    why: str
    """Why the others are left out, as a person is told; empty if none is."""
    early: tuple[Stage, ...] = ()
    """Parts of the subset to answer from first, each a part of the next; empty: the subset at once."""


class Selector(Protocol):
    """Chooses modalities. A choice is a subset of what is available, and empty only if nothing is available."""

    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        """The best subset that keeps to the budget; the cheapest one if none does."""


def has_chains(selector: Selector | None) -> bool:
    """Whether a selector answers from parts first; if so, it is asked without a budget too."""
    return bool(getattr(selector, "chains", ()))
